#!/usr/bin/env bash
# Copyright (c) mmdptr contributors. SPDX-License-Identifier: Apache-2.0
# Make the text embeddings and banks that ablations.yaml, slots.yaml and clip_word.yaml have beside
# those that `make real7k` makes. A killed run goes on where it was:
#   make study-stores DATA=folder
set -euo pipefail
data=${1:?Give the folder that make real7k had as DATA}
vocabulary=$data/corpora/en_vocabulary_90k.txt
random='--model mmdptr-tiny --pretrained random'
stores=data/dptr

embed() {  # name, corpus, arguments of the tool
    local name=$1 corpus=$2
    shift 2
    python tools/extract_text_embeddings.py "$corpus" --out "$stores/$name" "$@" \
        --dictionary configs/_base_/dicts/lower_english_digits.txt
}

mkdir -p "$stores"
# yes is shuf's source of chance, so that the words are the same everywhere.
grep -v '^#' "$vocabulary" | shuf -n 5000 --random-source=<(yes) > "$stores/words_5k.txt"

embed words_5k "$stores/words_5k.txt" $random --spelling characters
embed words_320k wordfreq:en $random --spelling characters
embed words_joint "$vocabulary" $random --spelling characters --joint-space
embed words_no_prompt "$vocabulary" $random --spelling characters --prompt '{}'
embed words_sign "$vocabulary" $random --spelling characters --prompt "a sign that says '{}'"
embed words_whole "$vocabulary" $random --spelling word
embed words_with_padding "$vocabulary" $random --spelling characters --keep-padding
embed words_clip "$vocabulary" --model clip-word-tiny --spelling characters
python tools/extract_orp_bank.py "$data/backgrounds/bsds500" --out "$stores/backgrounds_clip" \
    --model clip-word-tiny
# The Gaussian's mean and variance are those of the bank that make real7k makes.
python tools/extract_orp_bank.py "$data/backgrounds/bsds500" --out "$stores/backgrounds" $random
python tools/study/gaussian_bank.py "$stores/backgrounds" --out "$stores/gaussian"
