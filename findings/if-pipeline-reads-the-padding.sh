#!/bin/bash
# What:   diffusers 0.42.1 with transformers 5.24.0, IFPipeline, the first stage of DeepFloyd IF, with random weights.
# Source: IFPipeline.encode_prompt and __call__ in diffusers/pipelines/deepfloyd_if/pipeline_if.py; TextTimeEmbedding
#         in diffusers/models/embeddings.py.
# Guess:  prompts are padded to 77 tokens only for batching. The tokenizer's mask, which encode_prompt gives to T5,
#         keeps the U-Net from the padding as well, so prompt_embeds cut to the prompt's own tokens draw the same
#         picture.
# Seen:   they draw another one: pixels in [-1, 1] differ by 0.7, and by 2 where the U-Net pools the text
#         (addition_embed_type "text", as IF does). T5's output at padding is as long as at words, and the pipeline
#         calls the U-Net without encoder_attention_mask. With that mask, given by hand, a U-Net that does not pool
#         agrees with the cut prompt to 1e-6; one that pools still differs, as its pooling takes no mask.
# Date:   2026-11-28
# Why:    who trains such a network with a mask, or shortens embeddings to save memory or a GPU's time, or pads to
#         another length, gets other pictures from the pipeline than in training, without a warning.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 diffusers==0.42.1 transformers==5.24.0 tokenizers==0.23.3
cat > "$dir/probe.py" <<'PY'
import torch
from diffusers import DDPMScheduler, IFPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

words = {word: k for k, word in enumerate(("<pad>", "</s>", "<unk>", "a", "red", "heart"))}
pieces = Tokenizer(models.WordLevel(words, "<unk>"))
pieces.pre_tokenizer = pre_tokenizers.Whitespace()
pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
own = len(tokenizer("a red heart").input_ids)


def differences(**pooling):
    """Of padded to cut prompts: of a picture, of one call, and of one call with the mask."""
    torch.manual_seed(0)
    text = T5EncoderModel(T5Config(vocab_size=6, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=4)).eval()
    unet = UNet2DConditionModel(
        sample_size=16, in_channels=3, out_channels=6, layers_per_block=1, block_out_channels=(32, 64),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"), norm_num_groups=8,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", attention_head_dim=16,
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), cross_attention_dim=32,
        encoder_hid_dim=32, encoder_hid_dim_type="text_proj", **pooling).eval()
    pipeline = IFPipeline(tokenizer, text, unet, DDPMScheduler(variance_type="learned_range"), None, None, None,
                          requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    padded, _ = pipeline.encode_prompt("a red heart", do_classifier_free_guidance=False, device="cpu")
    assert padded.shape[1] == 77 and own == 4 and padded[:, own:].norm(dim=2).min() > 1

    def draw(embeds):
        return pipeline(prompt_embeds=embeds, num_inference_steps=4, guidance_scale=1.0, output_type="pt",
                        generator=torch.Generator().manual_seed(0)).images

    mask = torch.arange(77)[None] < own
    with torch.no_grad():
        x = torch.randn(1, 3, 16, 16)
        cut, all_of_it, masked = (unet(x, 500, embeds, encoder_attention_mask=given).sample for embeds, given in (
            (padded[:, :own], None), (padded, None), (padded, mask)))
        pictures = draw(padded), draw(padded[:, :own])
    return [(a - b).abs().max().item() for a, b in (pictures, (all_of_it, cut), (masked, cut))]


plain, pooled = differences(), differences(addition_embed_type="text", addition_embed_type_num_heads=4)
for name, found in ("without pooling", plain), ("with pooling", pooled):
    print(f"{name}: the pictures differ by {found[0]:.2g}, one call by {found[1]:.2g}, with the mask by {found[2]:.2g}")
assert min(plain[:2] + pooled) > 0.1 and plain[2] < 1e-5
PY
"$dir/venv/bin/python" "$dir/probe.py" 2>/dev/null
echo "As described: the U-Net of the pipeline reads the padding."
