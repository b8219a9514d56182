# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
"""CLIPs with text towers and tokenizers of Hugging Face's, of a few thousand parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    BertConfig,
    M2M100Config,
    MT5Config,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
)

from mmdptr.clip import LoadedCLIP

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
TEXTS = [
    "a photo of a 'hello'",
    "नमस्ते दुनिया",
    "привет мир",
    "日本語 の 文字",
    "مرحبا",
    "it's a test",
]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
# What each family puts around a text, and how wide its towers are.
FAMILIES: dict[str, dict[str, Any]] = {
    "xlm-roberta": {
        "template": "<s> $A </s>",
        "config": XLMRobertaConfig(
            **SIZES,
            max_position_embeddings=90,
            pad_token_id=1,
        ),
        "text": {"hf_pooler_type": "mean_pooler"},
    },
    "nllb": {
        "template": "<s> $A </s>",  # the language stands where <s> does
        "config": M2M100Config(
            d_model=32,
            encoder_layers=2,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            pad_token_id=1,
            max_position_embeddings=90,
        ),
        "text": {"hf_pooler_type": "cls_pooler", "hf_proj_type": "linear"},
    },
    "mt5": {
        "template": "$A </s>",
        "config": MT5Config(d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2),
        "text": {"hf_pooler_type": "mean_pooler"},
    },
    "bert": {
        "template": "<s> $A </s>",
        "config": BertConfig(
            **SIZES,
            pad_token_id=1,
        ),
        "text": {"hf_pooler_type": "cls_pooler", "hf_proj_type": "mlp"},
    },
}


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a tokenizer of pieces of words, which puts special tokens around a text."""

    def make(template: str) -> Path:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(
            vocab_size=120, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False
        )
        tokenizer.train_from_iterator([*TEXTS, "".join(map(chr, range(33, 127)))], trainer)
        places = [(x, tokenizer.token_to_id(x)) for x in ("<s>", "</s>")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=places
        )
        folder = tmp_path_factory.mktemp("tokenizer")
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, **SPECIAL, cls_token="<s>", sep_token="</s>"
        )
        fast.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def make_hf_clip(
    make_clip: Callable[..., LoadedCLIP], tokenizer_folder: Callable[[str], Path]
) -> Callable[[str], LoadedCLIP]:
    """Build a CLIP with a text tower of a family."""

    def make(name: str) -> LoadedCLIP:
        family = FAMILIES[name]
        folder = tokenizer_folder(family["template"])
        config = family["config"]
        config.pad_token_id = 1
        config.vocab_size = len(PreTrainedTokenizerFast.from_pretrained(folder))
        config.save_pretrained(folder)
        if name in ("nllb", "mt5"):  # open_clip builds these from weights alone
            AutoModel.from_config(config).save_pretrained(folder)
        text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), **family["text"]}
        return make_clip(text=text, custom_text=True)

    return make
