# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
import pytest

from mmdptr.clip import Prompt


def test_default_is_that_of_the_paper():
    assert Prompt()("hello") == "a photo of a 'hello'"


def test_characters_are_separated():
    assert Prompt(spelling="characters")("héy") == "a photo of a 'h é y'"
    assert Prompt(spelling="characters")("x") == "a photo of a 'x'"


def test_label_is_never_read_as_a_template():
    assert Prompt("say {}")("{}") == "say {}"
    assert Prompt("say {} twice")("{} {x} %s \\1") == "say {} {x} %s \\1 twice"


@pytest.mark.parametrize(("template", "prefix"), [("say {}!", "say "), ("{} it", ""), ("a{}", "a")])
def test_every_sentence_begins_with_the_prefix(template, prefix):
    prompt = Prompt(template)
    assert prompt.prefix == prefix
    assert prompt("{}") == template
    assert prompt("word").startswith(prefix + "word")


@pytest.mark.parametrize(("template", "times"), [("no place", 0), ("{} and {}", 2)])
def test_template_needs_exactly_one_place(template, times):
    with pytest.raises(ValueError, match=f"found {times} times in '{template}'.*Write it like"):
        Prompt(template)


def test_unknown_spelling_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'letters'.*word, characters"):
        Prompt(spelling="letters")


def test_dict_holds_all_that_matters():
    prompt = Prompt("say {}", "characters")
    assert Prompt(**prompt.to_dict()) == prompt
    assert prompt.to_dict() == {"template": "say {}", "spelling": "characters"}
