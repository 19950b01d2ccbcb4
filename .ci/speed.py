"""How fast this checkout is: alone, beside another revision of it, beside the public code that does the same work.

    python .ci/speed.py                     what a step consists of, its floor, and what the machine can do
    python .ci/speed.py --against HEAD~1    training speed here and at another revision, from their log.csv
    python .ci/speed.py --peers FOLDER      ratios; FOLDER has clones of guided-diffusion, DiT and DKDM;
                                            pip install timm pytorch-fid

Both sides take turns, each in a process of its own; medians are compared. Leave the machine alone meanwhile.
"""

import argparse
import copy
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
# name: (how many times as fast we want to be, batch, steps timed in a round)
PEERS = {
    "unet-forward tiny": (1.3, 64, 12), "unet-forward adm-14m": (1.3, 32, 4), "unet-forward adm-57m": (1.3, 16, 3),
    "unet-training tiny": (2.5, 64, 8), "unet-training adm-14m": (2.5, 32, 3), "unet-training adm-57m": (2.5, 16, 2),
    "vit-training vit-tiny": (1.2, 64, 12), "vit-training vit-s4": (1.2, 32, 4),
    "inception features": (1.3, 50, 3), "frechet distance": (5, 1, 3),
    "dkdm nano": (2.5, 64, 6), "dkdm tiny": (2.5, 64, 6), "dkdm adm-14m": (2.5, 32, 3),
}


def ours(name, batch):
    """A function that does one step of that work in this repository, the way its scripts do it."""
    sys.path.insert(0, str(ROOT))
    import dkdm
    import eval_fid
    import teachers
    teachers.keep_freed_memory()
    work, size = name.split()
    if work in ("inception", "frechet"):
        return scoring_step(work, eval_fid.frechet_distance,
                            eval_fid.ready(eval_fid.FIDInception()).to(memory_format=torch.channels_last))
    schedule = teachers.Schedule("cosine")
    like = teachers.Teacher(None, schedule, (3, 32, 32), None, "eps", True)
    autocast = teachers.autocasting("auto", torch.device("cpu"), "v")
    if work == "dkdm":
        teacher, student = (dkdm.new_student(like, s, "eps", True) for s in ("tiny", size))
        teacher.net.eval().requires_grad_(False)
        ema = copy.deepcopy(student)
        ema.net.requires_grad_(False)
        config = dkdm.Config(batch=batch, lambda_vlb=0.001)
        generator = torch.Generator().manual_seed(0)
        pool = dkdm.Pool(dkdm.pool_size(config, 1000), (3, 32, 32), 1000, None, 0.0, generator)
        pool.i.random_(1000, generator=generator)
        optimizer = torch.optim.Adam(student.net.parameters(), fused=True)
        return lambda: dkdm.training_step(student, teacher, pool, ema, optimizer, 0, config, generator, autocast)
    net = teachers.new_network(size, (3, 32, 32), None if work[:4] == "unet" else 11, True)
    return network_step(net, work, batch, autocast, torch.optim.Adam(net.parameters(), fused=True))


def theirs(name, batch, folder):
    """The same work in the code as released: single precision, its own optimizer step."""
    import contextlib
    work, size = name.split()
    sys.path.insert(0, str(ROOT))
    import eval_fid
    import unet
    import vit
    if work in ("inception", "frechet"):
        from pytorch_fid import fid_score, inception
        inception.load_state_dict_from_url = lambda *_, **__: eval_fid.FIDInception().state_dict()
        network = inception.InceptionV3([3]).eval()
        return scoring_step(work, fid_score.calculate_frechet_distance, lambda images: network(images / 255))
    if work == "vit-training":
        sys.path.insert(0, str(folder / "DiT"))
        from models import DiT
        net = DiT(input_size=32, in_channels=3, num_classes=10, learn_sigma=True, **vit.SIZES[size])
        return network_step(net, work, batch, contextlib.nullcontext, torch.optim.AdamW(net.parameters()))
    sys.path.insert(0, str(folder / ("DKDM/guided-diffusion" if work == "dkdm" else "guided-diffusion")))
    from guided_diffusion.unet import UNetModel

    def build(size):
        return UNetModel(image_size=32, in_channels=3, out_channels=6, **dict(use_scale_shift_norm=True)
                         | unet.SIZES[size])

    if work != "dkdm":
        net = build(size)
        return network_step(net, work, batch, contextlib.nullcontext, torch.optim.AdamW(net.parameters()))
    return released_dkdm_step(build("tiny").eval(), build(size), batch)


def scoring_step(work, distance, network):
    """50 images of 32 x 32 through the Inception network, or a Frechet distance in 2,048 dimensions."""
    images = torch.randint(256, (50, 3, 32, 32), dtype=torch.uint8)
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((4096, 2048)) for _ in range(2))
    means, covariances = (a.mean(0), b.mean(0)), (np.cov(a, rowvar=False), np.cov(b, rowvar=False))

    def features():
        with torch.inference_mode():
            network(images)

    def compare():
        distance(means[0], covariances[0], means[1], covariances[1])

    return features if work == "inception" else compare


def released_dkdm_step(teacher, student, batch):
    """The released loop, fed with noise in place of its prepared pool; one process, so MPI is not needed."""
    sys.modules["mpi4py"] = types.ModuleType("mpi4py")
    sys.modules["mpi4py"].MPI = types.SimpleNamespace(COMM_WORLD=types.SimpleNamespace(
        rank=0, size=1, Get_rank=lambda: 0, Get_size=lambda: 1, bcast=lambda x, root: x))
    sys.modules["blobfile"] = types.ModuleType("blobfile")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import pickle

    from guided_diffusion import dist_util, logger
    from guided_diffusion.resample import create_named_schedule_sampler
    from guided_diffusion.script_util import create_gaussian_diffusion
    from guided_diffusion.train_util_kd import KDTeacherLoader, KDTrainLoop
    aside = tempfile.TemporaryDirectory()
    logger.configure(aside.name, format_strs=[])
    dist_util.setup_dist()
    said = dict(steps=1000, learn_sigma=True, noise_schedule="cosine", rescale_learned_sigmas=False,
                timestep_respacing="1000")
    diffusions = [create_gaussian_diffusion(**said) for _ in range(2)]
    diffusions[0].kd = True
    entries = 400 * batch
    with open(Path(aside.name) / "pool.pkl", "wb") as f:
        pickle.dump({"total_t": np.random.randint(1, 1000, entries),
                     "total_x_t_1": np.random.randn(entries, 3, 32, 32).astype("f4")}, f)
    loader = KDTeacherLoader(
        teacher_diffusion=diffusions[0], teacher_model=teacher, student_diffusion=diffusions[1], class_cond=False,
        batch=batch, microbatch=-1, teacher_batch=batch, teacher_image_size=32, clip_denoised=True, rank=0,
        world_size=1, tempfile=f.name, choice="dynamic_iterative_distillation", BATCH=0.4)
    loop = KDTrainLoop(
        teacher_diffusion=diffusions[0], teacher_model=teacher, teacher_batch_size=batch, model=student,
        diffusion=diffusions[1], class_cond=False, clip_denoised=True, teacher_image_size=32, student_image_size=32,
        batch_size=batch, microbatch=-1, lr=1e-4, ema_rate="0.9999", log_interval=10, save_interval=10**9,
        cache_save_interval=-1, resume_checkpoint="", resume_step=0, use_fp16=False, teacher_loader=loader,
        schedule_sampler=create_named_schedule_sampler("uniform", diffusions[1]), USE_LOG=False)
    batches = iter(loader.iter)

    def step():  # the loader calls the teacher and puts the last batch back
        loop.run_step(*next(batches))

    step.aside = aside  # the loader reads it at its first batch
    return step


def network_step(net, work, batch, autocast, optimizer):
    """A forward pass without gradient, or forward, backward and an optimizer step on the squared output."""
    x, i = torch.randn(batch, 3, 32, 32), torch.randint(1000, (batch,))
    labels = (torch.arange(batch) % 10,) if work[:3] == "vit" else ()
    net.train()

    def forward():
        with torch.inference_mode(), autocast():
            net.eval()(x, i, *labels)

    def training():
        optimizer.zero_grad()
        with autocast():
            out = net(x, i, *labels)
        out.float().square().mean().backward()
        optimizer.step()

    return forward if work.endswith("forward") else training


def seconds(step, count):
    """Of each of `count` calls, after two that are not timed."""
    step(), step()
    times = []
    for _ in range(count):
        since = time.perf_counter()
        step()
        times.append(time.perf_counter() - since)
    return times


def beside_peers(folder, only):
    """Prints a row of the README's table for each kind of work whose name begins with `only`."""
    print("| work | batch | ours, images/s | as released | times as fast | wanted |\n|---|---|---|---|---|---|")
    for name, (wanted, batch, _) in PEERS.items():
        if not name.startswith(only):
            continue
        speed = {"ours": [], "theirs": []}
        for _ in range(ROUNDS):
            for side in speed:
                done = subprocess.run([sys.executable, __file__, "--peers", folder, "--one", side, name], check=True,
                                      stdout=subprocess.PIPE, text=True)
                speed[side] += [batch / float(s) for s in done.stdout.split("times:")[1].split()]
        here, there = (statistics.median(values) for values in speed.values())
        print(f"| {name} | {batch} | {here:.3g} | {there:.3g} | {here / there:.2f} | {wanted} |", flush=True)


def beside_revision(revision):
    """Runs of both scripts with few steps, in turns; the speed is the median of the rows in log.csv."""
    with tempfile.TemporaryDirectory() as aside:
        other = Path(aside) / "checkout"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "-q", "--detach", other, revision], check=True)
        try:
            for script, more in (("boot.py", ()), ("dkdm.py", ("--rho", "0.01"))):
                speed = {ROOT: [], other: []}
                for k in range(ROUNDS):
                    for root in speed:
                        out = Path(aside) / f"{script}-{root.name}-{k}"
                        subprocess.run([sys.executable, root / script, "--steps", "60", "--compare", "1", *more,
                                        "--out", out], check=True, capture_output=True)
                        rows = list(csv.DictReader(open(out / "log.csv")))[1:]
                        speed[root].append(statistics.median(float(row["images_per_s"]) for row in rows))
                here, there = (statistics.median(values) for values in speed.values())
                print(f"{script}: {here:.1f} images/s here, {there:.1f} at {revision}: {here / there:.2f} times")
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", other], check=True)


def profile():
    """Times of a BOOT and a DKDM step, of sampling and scoring, of their parts, and of the arithmetic alone."""
    sys.path.insert(0, str(ROOT))
    from torch.utils.flop_counter import FlopCounterMode

    import boot
    import dkdm
    import eval_fid
    import teachers
    teachers.keep_freed_memory()
    teacher = teachers.load_teacher("cifar10")
    autocast = teachers.autocasting("auto", torch.device("cpu"), "v")
    generator, labels = torch.Generator().manual_seed(0), torch.arange(10)

    def median(step, count=15):
        return statistics.median(seconds(step, count)) * 1e3

    a = torch.randn(4096, 4096).bfloat16()
    peak = 2 * 4096**3 / median(lambda: a @ a) / 1e9
    b = torch.empty(2**28)
    memory = 2 * 4 * 2**28 / median(lambda: b.copy_(b.flip(0)), 3) / 1e6
    print(f"{torch.get_num_threads()} threads: {peak:.2f} TFLOP/s in bfloat16 products, {memory:.1f} GB/s copied")

    def show(title, parts):
        print(f"{title}:")
        for part, step in parts.items():
            with FlopCounterMode(display=False) as counter:
                step()
            flops, ms = counter.get_total_flops(), median(step)
            print(f"  {part:34} {ms:6.1f} ms   {flops / 1e9:6.1f} GFLOP, {flops / peak / 1e9:5.1f} ms at that peak")

    for script, batch in ((boot, boot.Config.batch), (dkdm, dkdm.Config.batch)):
        if script is boot:
            config = boot.Config(t_max=0.99)
            student = boot.Student(teacher, config.t_min, 0.99).eval()
            net, more, last = student.net, (labels, generator), batch // 8
        else:
            config = dkdm.Config(lambda_vlb=0.001)
            student = dkdm.new_student(teacher, "nano", "v", True)
            net, last = student.net, 0
            pool = dkdm.Pool(1000, (3, 32, 32), 1000, 10, 0.1, generator)
            more = (generator,)
        ema = copy.deepcopy(student)
        for model in (ema,) if script is boot else (ema.net,):
            model.requires_grad_(False)
        optimizer = torch.optim.Adam(net.parameters(), fused=True)
        y = torch.arange(batch + last) % 10
        x, i = torch.randn(len(y), 3, 32, 32), torch.full_like(y, 500)

        def call(net, n, x=x, i=i, y=y):
            with torch.no_grad(), autocast():
                net(x[:n], i[:n], y[:n])

        def learn(net=net, x=x, i=i, y=y):
            with autocast():
                out = net(x, i, y)
            out.float().square().mean().backward()

        def whole(script=script, student=student, ema=ema, optimizer=optimizer, config=config, more=more):
            if script is boot:
                return boot.training_step(student, teacher, ema, optimizer, 0, config, *more, autocast)
            return dkdm.training_step(student, teacher, pool, ema, optimizer, 0, config, *more, autocast)

        parts = {"the teacher, once": lambda: call(teacher.net, batch),
                 "the student, once": lambda: call(net, batch),
                 "the student, forward and backward": learn, "Adam": optimizer.step, "the whole step": whole}
        show(f"{script.__name__}.py, {batch} images", parts)

    x, y = torch.randn(64, 3, 32, 32), torch.arange(64) % 10
    student = boot.load_student(ROOT / "weights/cifar10_boot.pt")
    features = eval_fid.load_network(eval_fid.Config(samples="", features="cifar10"), torch.device("cpu"))

    def drawing(draw):
        with torch.no_grad(), autocast():
            return draw()

    def scoring():
        with torch.no_grad():
            features(images)

    images = teachers.to_uint8(drawing(lambda: boot.sample(student, x, y)))
    show("sampling and scoring, 64 images", {
        "the teacher, once": lambda: drawing(lambda: teacher.net(x, torch.full_like(y, 500), y)),
        "ten DDIM steps": lambda: drawing(lambda: teacher.ddim(x, 10, y)),
        "the BOOT student's images": lambda: drawing(lambda: boot.sample(student, x, y)),
        "their features, single precision": scoring})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="REVISION")
    parser.add_argument("--peers", metavar="FOLDER")
    parser.add_argument("--only", metavar="WORK", default="", help="with --peers: rows that begin so")
    parser.add_argument("--one", nargs=2, metavar=("SIDE", "WORK"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        side, name = args.one
        _, batch, count = PEERS[name]
        torch.manual_seed(0)
        step = ours(name, batch) if side == "ours" else theirs(name, batch, Path(args.peers))
        print("times:", *seconds(step, count))
    elif args.peers:
        beside_peers(args.peers, args.only)
    elif args.against:
        beside_revision(args.against)
    else:
        profile()
