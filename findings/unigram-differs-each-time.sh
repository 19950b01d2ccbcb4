#!/bin/bash
# What:   tokenizers 0.23.3, the same text given twice to UnigramTrainer, in one process, with nothing random asked for.
# Source: UnigramTrainer in tokenizers/src/models/unigram/trainer.rs, which counts in hash maps without a fixed order.
# Guess:  the algorithm draws nothing, so the same text gives the same vocabulary, as BpeTrainer does on this text.
# Seen:   pieces of equal count change places, and scores change in their last digits, from one training to the next:
#         the same sentence gets other ids. No seed, and no TOKENIZERS_PARALLELISM, changes that. BPE was the same each
#         time.
# Date:   2026-11-28
# Why:    a script that trains its tokenizer at each start, from the captions of its data, works until it is resumed:
#         the weights were learned for other ids, nothing fails, and prompts mean something else. Save the tokenizer
#         first.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q tokenizers==0.23.3
cat > "$dir/probe.py" <<'PY'
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

captions = [f"{colour} {shape}" for colour in ("red", "green", "blue", "yellow")
            for shape in ("disk", "square", "heart")]
tokens = dict(vocab_size=60, special_tokens=["<unk>"], show_progress=False)
ways = {"Unigram": lambda: (models.Unigram(), trainers.UnigramTrainer(unk_token="<unk>", **tokens)),
        "BPE": lambda: (models.BPE(unk_token="<unk>"), trainers.BpeTrainer(**tokens))}
found = {}
for name, way in ways.items():
    found[name] = set()
    for _ in range(20):
        model, trainer = way()
        tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.train_from_iterator(captions, trainer)
        found[name].add(tuple(tokenizer.encode("a yellow heart").ids))
    print(f"{name}: 20 trainings, {len(found[name])} different lists of ids for one sentence")
assert len(found["Unigram"]) > 1 and len(found["BPE"]) == 1
PY
"$dir/venv/bin/python" "$dir/probe.py"
echo "As described: Unigram's ids differ from training to training."
