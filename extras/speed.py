"""How fast this checkout is: alone, and beside the public code.

    python -m extras.speed                     what a step consists of, and its arithmetic alone
    python -m extras.speed --peers FOLDER      ratios; FOLDER holds clones of guided-diffusion, DiT
                                               and DKDM; pip install timm pytorch-fid
    python -m extras.speed --gpu steps         steps on a GPU, as they are and as CUDA graphs
    python -m extras.speed --gpu memory        networks of the papers' sizes; pip install diffusers
                                               transformers

Both sides take turns, each in a process of its own; medians are compared. Leave the machine alone.
"""

import argparse
import copy
import itertools
import os
import pickle
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import types
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import boot
import dkdm
import eval_fid
import teachers
import unet
import vit
from teachers import UserError, opt

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3  # turns of each side
PEERS = {  # work and size: batch, steps timed in a turn
    "unet-forward tiny": (64, 12), "unet-forward adm-14m": (32, 4), "unet-forward adm-57m": (16, 3),
    "unet-training tiny": (64, 8), "unet-training adm-14m": (32, 3),
    "unet-training adm-57m": (16, 2), "vit-training vit-tiny": (64, 12),
    "vit-training vit-s4": (32, 4), "dkdm nano": (64, 6), "dkdm tiny": (64, 6),
    "dkdm adm-14m": (32, 3), "inception features": (50, 3), "frechet distance": (1, 3)}


@dataclass
class Config(teachers.Options):
    """Measures speed: of the parts of a step, or beside the public code."""

    peers: str = opt("", "folder of the clones to compare with", metavar="FOLDER")
    only: str = opt("", "with --peers: rows that begin so", metavar="WORK")
    batch: int = opt(None, "with --peers: images of a DKDM step (default: as suits a CPU)", 1)
    device: str = opt("cpu", "with --peers: cuda, for DKDM's rows; the release then computes in "
                             "half precision, as its configuration says; ours is a CUDA graph")
    gpu: str = opt("", "what to measure on a GPU", choices=("steps", "memory"))
    one: tuple = opt(None, argparse.SUPPRESS, type=str, nargs=2)  # a side and its work

    def __post_init__(self):
        super().__post_init__()
        if self.peers and self.gpu:
            raise UserError("--peers and --gpu measure different things: give one")
        stray = [f"--{name}" for name in ("only", "batch", "device")
                 if getattr(self, name) != getattr(Config, name)]
        if stray and not self.peers:
            raise UserError(f"{', '.join(stray)}: for --peers alone; leave it out")
        if not any(name.startswith(self.only) for name in PEERS):
            raise UserError(f"--only {self.only}: the rows are {', '.join(PEERS)}")
        if self.peers and not Path(self.peers).is_dir():
            raise UserError(f"--peers {self.peers} is no folder: see docs/speed.md for the clones")


def seconds(step, count):
    """Of each of `count` calls, after two that are not timed."""
    times = []
    for _ in range(count + 2):
        since = time.perf_counter()
        step()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - since)
    return times[2:]


def run(*command):
    """What a command prints. UserError, with the last line of its errors, if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        why = [f"exit status {done.returncode}", *done.stderr.strip().splitlines()][-1]
        raise UserError(f"{' '.join(map(str, command))}: {why}")
    return done.stdout


def profile():
    """Prints the times of the parts of a BOOT step, a DKDM step, of sampling and scoring."""
    def median(step):
        return statistics.median(seconds(step, 5)) * 1e3

    teacher = teachers.load_teacher("cifar10").in_precision("auto")
    dtype = torch.bfloat16 if teacher.bf16 else torch.float32  # the one that scripts compute in
    a, b = torch.randn(4096, 4096, dtype=dtype), torch.empty(2**28)
    peak = 2 * 4096**3 / median(lambda: a @ a) / 1e9
    print(f"{torch.get_num_threads()} threads: {peak:.2f} TFLOP/s in products of {dtype}, "
          f"{2**31 / median(lambda: b.copy_(b.flip(0))) / 1e6:.1f} GB/s copied")

    def show(title, parts):
        print(f"{title}:")
        for part, step in parts.items():
            with FlopCounterMode(display=False) as counter:
                step()
            gflop = counter.get_total_flops() / 1e9
            print(f"  {part:34} {median(step):6.1f} ms   {gflop:6.1f} GFLOP, {gflop / peak:5.1f} "
                  "ms at that peak", flush=True)

    for script in boot, dkdm:
        B = script.Config.batch
        student, optimizer, step = new_step(script, teacher, B)
        model = student.model if script is boot else student
        x = torch.randn(B + (B // 8 if script is boot else 0), 3, 32, 32)  # L^BC: an eighth more
        inputs = x, torch.full((len(x),), 500), torch.arange(len(x)) % 10

        def call(model, B=B, inputs=inputs):
            with torch.no_grad():
                model.call(*(value[:B] for value in inputs))

        def learn(model=model, inputs=inputs):
            model.call(*inputs).square().mean().backward()

        show(f"{script.__name__}.py, {B} images", {
            "the teacher, once": lambda call=call: call(teacher),
            "the student, once": lambda call=call, model=model: call(model),
            "the student, forward and backward": learn, "Adam": optimizer.step,
            "the whole step": step})

    x, c = torch.randn(64, 3, 32, 32), torch.arange(64) % 10
    student, images = boot.load_student("cifar10"), torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    features = eval_fid.load_network(eval_fid.Config(features="cifar10"), torch.device("cpu"))
    student.model = student.model.in_precision("auto")
    with torch.no_grad():
        show("sampling 64 images", {
            "the teacher, once": lambda: teacher.call(x, torch.full_like(c, 500), c),
            "ten DDIM steps": lambda: teacher.ddim(x, 10, c),
            "the BOOT student's images": lambda: boot.sample(student, x, c)})
    show("scoring them", {"their features, single precision": lambda: features(images)})


def new_step(script, teacher, batch, size="nano", graph=False):
    """A new student of script, its optimizer, and step(), which trains it.

    size: of DKDM's student.  graph: whether step is a CUDA graph.
    """
    config, generator, state = script.Config(batch=batch).fitted(teacher), teacher.generator(0), ()
    if script is boot:
        student = boot.new_student(teacher, config.t_min, config.t_max)
        student.net.eval()
    else:
        student = dkdm.new_student(teacher, size, config.predicts, teacher.learned_sigma,
                                   config.label_dropout > 0)
        T = teacher.schedule.T
        state = dkdm.Pool(dkdm.pool_size(config, T), teacher.image_shape, T, teacher.num_classes,
                          config.label_dropout, generator),
        state[0].i.random_(T, generator=generator)
    ema = copy.deepcopy(student)
    ema.net.requires_grad_(False)
    optimizer = torch.optim.Adam(student.net.parameters(), fused=True, capturable=graph)
    step = partial(script.training_step, student, teacher, *state, ema, optimizer, config=config,
                   generator=generator)
    if graph:
        step = (student.model if script is boot else student).captured(step, generator)
    return student, optimizer, partial(step, 1e-4, 0.01)


def report(name, batch, step, count):
    """Prints a row: milliseconds of a step, images per second, the peak since fresh_memory()."""
    ms = statistics.median(seconds(step, count)) * 1e3
    peak = torch.cuda.max_memory_allocated() / 2**20
    print(f"| {name} | {batch} | {ms:.1f} | {batch / ms * 1e3:.3g} | {peak:,.0f} |", flush=True)


def fresh_memory():
    """From now on the peak counts, of what is still in use."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()


def steps_on_a_gpu():
    """Prints rows for steps, launched kernel by kernel and as CUDA graphs, and for sampling."""
    print("| | batch | ms | images/s | MiB |\n|---|---|---|---|---|")
    teacher = teachers.load_teacher("cifar10", "cuda").in_precision("auto")
    for script, batches in ((boot, (8, 64, 256)), (dkdm, (16, 128, 256))):
        for batch, graph in itertools.product(batches, (False, True)):
            step = None  # frees the last one
            fresh_memory()
            step = new_step(script, teacher, batch, graph=graph)[2]
            if not graph:  # in a step, nothing may wait for the GPU
                step()
                torch.cuda.set_sync_debug_mode("error")
                step()
                torch.cuda.set_sync_debug_mode("default")
            seconds(step, 2)  # a graph is recorded at the fourth call
            report(f"{script.__name__}{', a CUDA graph' * graph}", batch, step, 100)
    student = boot.load_student("cifar10", "cuda")
    student.model = student.model.in_precision("auto")
    x, c, step = torch.randn(256, 3, 32, 32).cuda(), torch.arange(256).cuda() % 10, None
    fresh_memory()
    report("sampling, BOOT's one call", 256, lambda: boot.sample(student, x, c), 20)
    report("sampling, 50 calls", 256, lambda: teacher.ddim(x, 50, c), 5)


def memory_of_a_gpu():
    """Prints rows for networks of the papers' sizes, with random weights, on a card of 24 GB."""
    from extras.diffusers_teacher import DiffusersNet
    cuda = torch.device("cuda")
    total = torch.cuda.get_device_properties(cuda).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 24e9 / total))
    print("| | batch | ms | images/s | MiB |\n|---|---|---|---|---|")
    linear = teachers.Schedule("linear", clip=False)

    def stable_diffusion():  # 859.5 M parameters; three prompts, the empty one last
        config = {"sample_size": 64, "cross_attention_dim": 768}
        net = DiffusersNet("UNet2DConditionModel", config, 3, (77, 768))
        return teachers.DiffusionModel(net, linear, (4, 64, 64), 2, "v", False, latents=True)

    def adm():  # adm-imagenet64
        net = dkdm.new_network("adm-296m", (3, 64, 64), 1000, True)
        return teachers.DiffusionModel(net, teachers.Schedule("cosine"), (3, 64, 64), 1000, "v",
                                       True)

    for name, make, script, batch, size in (
            ("Stable Diffusion 1.5, BOOT", stable_diffusion, boot, 4, None),
            ("adm-imagenet64, BOOT", adm, boot, 32, None),
            ("adm-imagenet64, DKDM of adm-14m", adm, dkdm, 32, "adm-14m")):
        fresh_memory()
        teacher = make().in_precision("auto")
        teacher.net.to(cuda).requires_grad_(False).eval()
        try:
            report(name, batch, new_step(script, teacher, batch, size)[2], 10)
        except torch.OutOfMemoryError:
            print(f"| {name} | {batch} | out of memory | | |", flush=True)
        del teacher


def beside_peers(config):
    """Prints a row of a table for each kind of work whose name begins with config.only."""
    print("| work | batch | ours, images/s | as released | ratio |\n|---|---|---|---|---|")
    for name in filter(lambda name: name.startswith(config.only), PEERS):
        speed, batch = {"ours": [], "theirs": []}, PEERS[name][0]
        if name.startswith("dkdm"):
            batch = config.batch or batch
        for side in (*speed,) * ROUNDS:
            times = run(sys.executable, "-m", "extras.speed", "--peers",
                        Path(config.peers).resolve(), "--batch", str(batch), "--device",
                        config.device, "--one", side, name).split("times:")[1]
            speed[side] += [batch / float(s) for s in times.split()]
        here, there = map(statistics.median, speed.values())
        print(f"| {name} | {batch} | {here:.3g} | {there:.3g} | {here / there:.2f} |", flush=True)


def ours(work, size, batch):
    """A function that does one step of that work the way our scripts do it, for predictions v."""
    if work in ("inception", "frechet"):
        network = eval_fid.ready(eval_fid.FIDInception()).to(memory_format=torch.channels_last)
        return scoring_step(work, eval_fid.frechet_distance, network)
    rows, shape = 11 if work == "vit-training" else None, (3, 32, 32)
    net = dkdm.new_network("tiny" if work == "dkdm" else size, shape, rows, True)
    model = teachers.DiffusionModel(net, teachers.Schedule("cosine"), shape, None, "v", True)
    model = model.in_precision("auto")
    if work != "dkdm":
        return network_step(net, model.call, work, batch, torch.optim.Adam, fused=True)
    net.eval().requires_grad_(False)
    step = new_step(dkdm, model, batch, size, model.device.type == "cuda")[2]
    seconds(step, 2)  # a graph is recorded at the fourth call
    return step


def theirs(work, size, batch, folder, half):
    """The same work in the code as released, with its own optimizer step; half: DKDM in float16."""
    if work in ("inception", "frechet"):
        from pytorch_fid import fid_score, inception
        inception.load_state_dict_from_url = lambda *_, **__: eval_fid.FIDInception().state_dict()
        network = inception.InceptionV3([3]).eval()
        distance = fid_score.calculate_frechet_distance
        return scoring_step(work, distance, lambda images: network(images / 255))
    peer = {"vit-training": "DiT", "dkdm": "DKDM/guided-diffusion"}.get(work, "guided-diffusion")
    sys.path.insert(0, str(folder / peer))
    if work == "vit-training":
        from models import DiT
        net = DiT(input_size=32, in_channels=3, num_classes=10, **vit.SIZES[size])
        return network_step(net, net, work, batch, torch.optim.AdamW)
    from guided_diffusion.unet import UNetModel
    half = half and work == "dkdm"
    net, teacher = (UNetModel(32, 3, out_channels=6, use_fp16=half, **{"use_scale_shift_norm": True}
                              | unet.SIZES[name]) for name in (size, "tiny"))
    if half:
        teacher.convert_to_fp16()
    if work == "dkdm":
        return released_dkdm_step(net, teacher.eval(), batch, half)
    return network_step(net, net, work, batch, torch.optim.AdamW)


def network_step(net, call, work, batch, optimizer, **options):
    """A forward pass of net by call, or forward, backward and a step on the squared output."""
    training, optimizer = work.endswith("training"), optimizer(net.parameters(), **options)
    inputs = torch.randn(batch, 3, 32, 32), torch.randint(1000, (batch,))
    labels = (torch.arange(batch) % 10,) if work.startswith("vit") else ()
    net.train(training)

    def step():
        with torch.inference_mode(not training):
            out = call(*inputs, *labels)
        if training:
            optimizer.zero_grad()
            out.float().square().mean().backward()
            optimizer.step()

    return step


def scoring_step(work, distance, network):
    """50 images of 32 x 32 through Inception, or a Frechet distance in 2,048 dimensions."""
    images = torch.randint(256, (50, 3, 32, 32), dtype=torch.uint8)
    if work == "inception":
        return torch.inference_mode()(lambda: network(images))
    a, b = np.random.default_rng(0).standard_normal((2, 4096, 2048))
    moments = a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False)
    return lambda: distance(*moments)


def released_dkdm_step(student, teacher, batch, half):
    """The released loop in one process, fed with noise in place of its prepared pool."""
    world = types.SimpleNamespace(rank=0, size=1, Get_rank=lambda: 0, Get_size=lambda: 1,
                                  bcast=lambda x, root: x)
    sys.modules["mpi4py"] = types.SimpleNamespace(MPI=types.SimpleNamespace(COMM_WORLD=world))
    sys.modules["blobfile"] = types.ModuleType("blobfile")
    os.environ["CUDA_VISIBLE_DEVICES"] = "0" if half else ""
    socket.getfqdn = lambda: "localhost"  # where it looks for the other processes
    torch.set_default_device("cpu")  # its data loader wants that
    from guided_diffusion import dist_util, logger, script_util, train_util_kd
    from guided_diffusion.resample import create_named_schedule_sampler
    aside = tempfile.TemporaryDirectory()
    logger.configure(aside.name, format_strs=[])
    dist_util.setup_dist()
    teachers_chain, chain = (script_util.create_gaussian_diffusion(
        steps=1000, learn_sigma=True, noise_schedule="cosine", rescale_learned_sigmas=False,
        timestep_respacing="1000") for _ in range(2))
    teachers_chain.kd = True
    with open(Path(aside.name) / "pool.pkl", "wb") as f:
        pickle.dump({"total_t": np.random.randint(1, 1000, 400 * batch),
                     "total_x_t_1": np.random.randn(400 * batch, 3, 32, 32).astype("f4")}, f)
    common = dict(teacher_diffusion=teachers_chain, teacher_model=teacher, class_cond=False,
                  microbatch=-1, teacher_image_size=32, clip_denoised=True)
    loader = train_util_kd.KDTeacherLoader(
        student_diffusion=chain, batch=batch, teacher_batch=batch, rank=0, world_size=1, BATCH=0.4,
        tempfile=f.name, choice="dynamic_iterative_distillation", **common)
    loop = train_util_kd.KDTrainLoop(
        model=student, diffusion=chain, student_image_size=32, batch_size=batch, lr=1e-4,
        teacher_batch_size=batch, teacher_loader=loader, ema_rate="0.9999", log_interval=10,
        save_interval=10**9, cache_save_interval=-1, resume_checkpoint="", USE_LOG=False,
        use_fp16=half,
        schedule_sampler=create_named_schedule_sampler("uniform", chain), **common)
    batches = iter(loader.iter)

    def step():  # the loader calls the teacher and puts the last batch back
        loop.run_step(*next(batches))

    step.aside = aside  # the loader reads it at its first batch
    return step


def main():
    config = Config.parse()
    if config.one:
        (side, name), half = config.one, config.device != "cpu"
        torch.manual_seed(0)
        torch.set_default_device(config.device)
        work = *name.split(), config.batch
        step = ours(*work) if side == "ours" else theirs(*work, Path(config.peers), half)
        return print("times:", *seconds(step, PEERS[name][1]))
    if config.gpu:
        if not torch.cuda.is_available():
            raise UserError("--gpu needs a GPU: there is none here")
        return steps_on_a_gpu() if config.gpu == "steps" else memory_of_a_gpu()
    if config.peers:
        return beside_peers(config)
    return profile()


if __name__ == "__main__":
    teachers.run_script(main)
