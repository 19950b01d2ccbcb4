"""What the parts of a pipeline of diffusers say: each setting is used, or refused in one line.

What is left open is decided here, and printed. Used by diffusers_teacher.py.
"""

import inspect
import math

from teachers import UserError

# Those for networks trained on a chain of noise levels. Others mean another clock (EDM, flows), or
# a network that is already distilled to few steps (LCM, TCD).
SCHEDULERS = [kind + "Scheduler" for kind in (
    "DDPM", "DDPMParallel", "DDIM", "DDIMParallel", "PNDM", "DPMSolverMultistep",
    "DPMSolverSinglestep", "DPMSolverSDE", "DEISMultistep", "UniPCMultistep", "SASolver",
    "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete", "KDPM2Discrete",
    "KDPM2AncestralDiscrete")]
PREDICTS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
# {setting: values that fit, first the one of a missing setting}; no values: all fit
SCHEDULER_FITS = {
    "prediction_type": [*PREDICTS], "predict_epsilon": [None, True],  # an old way to say "sample"
    "variance_type": [None, "fixed_small", "fixed_large", "learned_range"],
    "timestep_type": ["discrete"], "use_flow_sigmas": [None, False], "rescale_betas_zero_snr": [],
    "thresholding": [], "dynamic_thresholding_ratio": [], "sample_max_value": [],
    "clip_sample": [], "clip_sample_range": []}
UNET_FITS = {  # other values ask for more than a noisy image, its index, and a class or a text
    "class_embed_type": [None], "addition_embed_type": [None, "text"],
    "encoder_hid_dim_type": [None, "text_proj"], "time_cond_proj_dim": [None],
    "time_embedding_type": ["positional"], "attention_type": ["default"]}
DECODER_FITS = {"shift_factor": [None, 0], "latents_mean": [None], "latents_std": [None],
                "block_out_channels": [], "force_upcast": []}  # some classes add these two
DECODERS = ("AutoencoderKL", "AsymmetricAutoencoderKL", "AutoencoderTiny", "VQModel")


def demand(fine, what):
    """UserError that says `what` unless it is fine."""
    if not fine:
        raise UserError(f"the pipeline is not supported: {what}; docs/teachers.md says what is")


def settings(part, fits):
    """{setting: value} of a loaded part. UserError where a value is not one that fits.

    It has what the file says, also where the class ignores it, and the class's defaults.
    """
    kind, found = type(part).__name__, {k: v for k, v in part.config.items() if k[0] != "_"}
    for key, values in fits.items():
        demand(not values or found.get(key, values[0]) in values,
               f"its {kind} says {key} = {found.get(key)!r}, not one of {values}")
    ignored = found.keys() - inspect.signature(type(part)).parameters.keys() - fits.keys()
    if ignored := sorted(key for key in ignored if found[key] is not None):
        print(f"left out: {', '.join(ignored)}, which {kind} does not know")
    return found


def number(config, key, default, most=math.inf):
    """A setting, or its default, as a float. UserError unless it is a number in (0, most]."""
    value = config.get(key, default)
    demand(isinstance(value, int | float) and 0 < value <= most,
           f"{key} is {value!r}, not a number above 0 and up to {most}")
    return float(value)


def noise_schedule(scheduler, pipeline, learned):
    """The entries of a checkpoint dict that the scheduler of a pipeline decides.

    pipeline: the name of its class;  learned: whether the network makes a learned variance.
    """
    kind, levels = type(scheduler).__name__, getattr(scheduler, "alphas_cumprod", [])
    demand(kind in SCHEDULERS and len(levels) > 1, f"its {kind} has no chain of noise levels, or "
           "is for a network that is already distilled")
    config, knows = settings(scheduler, SCHEDULER_FITS), inspect.signature(type(scheduler))
    knows, levels = knows.parameters.keys(), levels.double()

    zero_snr, last, T = config.get("rescale_betas_zero_snr"), levels[-1].item(), len(levels)
    demand("rescale_betas_zero_snr" in knows or not zero_snr,
           f"rescale_betas_zero_snr is set, which {kind} does not know")
    # With zero_snr, some classes have put 2**-24 there themselves.
    if last == 0 < levels[-2] or zero_snr and last >= levels[-2]:
        levels[-1] = min(2**-24, levels[-2] / 2)
        print(f"noise levels: the last is {levels[-1]:.1e} instead of {last:.1e}, above 0 and "
              "below the one before")
    if T != config["num_train_timesteps"]:
        print(f"noise levels: {T}, though num_train_timesteps is {config['num_train_timesteps']}")

    variance = config.get("variance_type")
    demand(learned == (variance == "learned_range"), f"variance_type {variance} does not go with "
           f"a network that makes {1 + learned} channels for each of an image")
    if variance is None:
        print(f"variance: fixed_small, since {kind} has none")

    clip, setting = False, "thresholding" if config.get("thresholding") else "clip_sample"
    if setting == "thresholding":
        quantile = number(config, "dynamic_thresholding_ratio", 0.995, most=1)
        clip = quantile, number(config, "sample_max_value", 1.0)
    elif config.get(setting) and pipeline.startswith("StableDiffusion"):
        print(f"clipping: none, as {pipeline} turns clip_sample off")
    elif config.get(setting):
        clip = number(config, "clip_sample_range", 1.0)
    if setting not in config:
        print(f"clipping: none, since {kind} has none")
    elif clip and setting not in knows:
        print(f"clipping: to {clip}, as {setting} says, though {kind} ignores it")
    return {"schedule": levels, "T": T, "predicts": PREDICTS[config["prediction_type"]],
            "clip": clip, "variance": variance if variance == "fixed_large" else "fixed_small"}


def check_decoder(vae, C):
    """How many channels an autoencoder's images have. UserError unless it decodes C channels."""
    kind, config = type(vae).__name__, settings(vae, DECODER_FITS)
    demand(kind in DECODERS, f"its autoencoder is a {kind}, none of {', '.join(DECODERS)}")
    its = config.get("vq_embed_dim") or config["latent_channels"]
    demand(its == C, f"its network takes {C} channels, its autoencoder {its}")
    number(config, "scaling_factor", None)
    return config["out_channels"]
