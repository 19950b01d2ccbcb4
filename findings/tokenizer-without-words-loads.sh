#!/bin/bash
# What:   transformers 5.24.0, CLIPTokenizer and T5Tokenizer, from_pretrained of a folder that has the tokenizer's
#         settings (tokenizer_config.json) and not its vocabulary.
# Source: __init__ in transformers/models/clip/tokenization_clip.py and models/t5/tokenization_t5.py makes a vocabulary
#         of the special tokens if it is given none. T5's docstring says so of the argument; from_pretrained gives none
#         if the folder has no file with one.
# Guess:  an error, as for missing weights, and as version 4.55.4 raises for the same folders.
# Seen:   both load. For CLIP each letter, whatever it is, is the end token, so that once padded all prompts of as many
#         letters as there is room for, or fewer, are the same, and equal to the empty one. For T5 each word is the
#         unknown token, and prompts differ by their number of words alone. No warning.
# Date:   2026-11-29
# Why:    a download of "*.json" and "*.safetensors" leaves out T5's spiece.model, and copies by hand leave out others.
#         All shapes are right. A text-to-image model draws good pictures that have nothing to do with their prompts,
#         guidance does next to nothing, and what is trained with captions is trained without.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q transformers==5.24.0
cat > "$dir/probe.py" <<'PY'
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
from transformers import CLIPTokenizer, T5Tokenizer  # noqa: E402

PROMPTS = ("a red cat", "the blue sea", "some old dog", "")
SPECIAL = {
    CLIPTokenizer: dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>",
                        pad_token="<|endoftext|>"),
    T5Tokenizer: dict(eos_token="</s>", unk_token="<unk>", pad_token="<pad>"),
}

for its_class, tokens in SPECIAL.items():
    folder = Path(sys.argv[1], its_class.__name__)
    folder.mkdir()
    settings = {"tokenizer_class": its_class.__name__, "model_max_length": 20, **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = its_class.from_pretrained(folder)
    cat, sea, dog, empty = tokenizer(list(PROMPTS), padding="max_length", truncation=True).input_ids
    words = [token for token in tokenizer.get_vocab() if token not in tokenizer.all_special_tokens]
    print(f"{its_class.__name__}: {len(words)} tokens that are not special; {PROMPTS[0]!r} is",
          tokenizer(PROMPTS[0]).input_ids)
    assert len(words) <= 1 and cat == sea == dog and len(cat) == 20
    assert (cat == empty) == (its_class is CLIPTokenizer)
print("As described: tokenizers without their vocabulary load, and prompts are all alike.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
