#!/usr/bin/env bash
# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Make the dictionaries of configs/_base_/dicts anew, from the words of wordfreq; for Thai, those of the
# Royal Institute's dictionary as PyThaiNLP has them (orst_words_th.txt, Apache-2.0); for Chinese, too,
# the keys of PaddleOCR (ppocr_keys_v1.txt, Apache-2.0) and, for wordfreq simplifies all words, the
# first level of Big5, the 5,401 traditional characters in frequent use:
#   bash tools/shipped_dictionaries.sh orst_words_th.txt ppocr_keys_v1.txt
set -euo pipefail
thai_words=${1:?Give the file of Thai words}
chinese_characters=${2:?Give the file of Chinese characters}
dicts=configs/_base_/dicts
ascii='0123456789abcdefghijklmnopqrstuvwxyz!"#$%&'\''()*+,-./:;<=>?@[\]^_`{|}~'

build() {  # name, characters besides ASCII, other arguments of the tool
    local name=$1 more=$2
    shift 2
    python tools/build_dictionary.py "$@" --always "$ascii$more" --out "$dicts/$name.txt"
}

words_of() {  # the first 100,000 words of languages
    printf 'wordfreq:%s:100000 ' "$@"
}

big5=$(mktemp --suffix .txt)
trap 'rm "$big5"' EXIT
python - > "$big5" << 'END'
for high in range(0xA4, 0xC7):
    for low in (*range(0x40, 0x7F), *range(0xA1, 0xFF)):
        print(bytes((high, low)).decode("big5", "ignore"))
END
chinese_marks='，。、；：？！（）《》〈〉【】“”‘’·…—￥'
build chinese "$chinese_marks" wordfreq:zh:100000 "$chinese_characters" "$big5" --scripts Han Latin
# What small models can learn: the characters of the most frequent words.
build chinese-common "$chinese_marks" wordfreq:zh:5000 --scripts Han Latin
build japanese '，．！？：；（）『』【】〈〉《》…〜￥々〆〒' wordfreq:ja:100000 --scripts Han Hiragana Katakana Latin
build korean '·「」『』…₩' wordfreq:ko --scripts Hangul Latin
build vietnamese '' wordfreq:vi --scripts Latin
build russian '' wordfreq:ru --min-count 50 --scripts Cyrillic
build greek '' wordfreq:el --min-count 20 --scripts Greek
build arabic '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹،؛؟' wordfreq:ar wordfreq:fa wordfreq:ur --min-count 20 --scripts Arabic
build hindi '०१२३४५६७८९।' wordfreq:hi --clusters --min-count 3 --scripts Devanagari
build bengali '০১২৩৪৫৬৭৮৯।' wordfreq:bn --clusters --min-count 10 --scripts Bengali
build thai '๐๑๒๓๔๕๖๗๘๙' "$thai_words" --clusters --min-count 10 --scripts Thai
# shellcheck disable=SC2046
build european 'ß' $(words_of de fr es it pt nl pl cs sv da fi hu ro tr) --min-count 20 --scripts Latin

# One model for all of these, and for scripts that few words are at hand of.
shopt -s extglob
build all-scripts '–—‘’“”„«»…€£¥°·№' "$dicts"/!(all-scripts|lower_english_digits).txt --clusters --unicode-form none \
    --whole-scripts Cyrillic Hebrew Tamil Telugu
