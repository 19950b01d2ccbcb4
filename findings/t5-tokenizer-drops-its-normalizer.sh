#!/bin/bash
# What:   transformers 5.24.0, a T5TokenizerFast around a tokenizer of one's own, saved and loaded again.
# Source: T5Tokenizer in transformers/models/t5/tokenization_t5.py, which builds normalizer and pre-tokenizer anew.
# Guess:  loading what save_pretrained wrote gives the same tokens: tokenizer.json has every part, and 4.57.6 reads
#         them.
# Seen:   the object that is made by T5TokenizerFast(tokenizer_object=...) lower-cases, as it was told; the one that is
#         loaded from its folder does not, by its class or by AutoTokenizer, though tokenizer.json still says so. "Red
#         Heart" becomes other tokens, two of them unknown. No warning. Vocabulary and post-processor are kept.
#         PreTrainedTokenizerFast reads the same folder as it was written, and so does transformers 4.57.6.
# Date:   2026-11-28
# Why:    a small text-to-image pipeline (an IFPipeline, say) gets its tokenizer from its captions. In training it
#         works; in the saved pipeline the text encoder sees words that it never met, and prompts seem to be ignored.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/probe.py" <<'PY'
import sys

import tokenizers
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

text, folder = "Red Heart", sys.argv[1]
made = Tokenizer(models.Unigram())
made.normalizer = normalizers.Lowercase()
made.pre_tokenizer = pre_tokenizers.Metaspace()
made.train_from_iterator(["red heart", "a cat on a bicycle"] * 3, trainers.UnigramTrainer(
    vocab_size=40, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False))
made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
tokenizer = transformers.T5TokenizerFast(tokenizer_object=made, extra_ids=0)
tokenizer.save_pretrained(folder)
before, after = tokenizer(text).input_ids, {}
for name in ("T5TokenizerFast", "AutoTokenizer", "PreTrainedTokenizerFast"):
    loaded = getattr(transformers, name).from_pretrained(folder)
    after[name] = loaded(text).input_ids
    print(f"transformers {transformers.__version__}, {name}: {loaded.convert_ids_to_tokens(after[name])}, normalizer "
          f"{loaded.backend_tokenizer.normalizer}")
saved = Tokenizer.from_file(f"{folder}/tokenizer.json")
assert "Lowercase" in str(saved.normalizer) and saved.encode(text).ids == before == after["PreTrainedTokenizerFast"]
assert (before == after["T5TokenizerFast"]) == (before == after["AutoTokenizer"]) == (sys.argv[2] == "same")
PY
for pins in "transformers==4.57.6 tokenizers==0.22.1 same" "transformers==5.24.0 tokenizers==0.23.3 other"; do
  set -- $pins
  python3 -m venv "$dir/$3"
  "$dir/$3/bin/pip" install -q "$1" "$2"
  "$dir/$3/bin/python" "$dir/probe.py" "$dir/$3/saved" "$3" 2>/dev/null
done
echo "As described: transformers 5 loads another tokenizer than was saved."
