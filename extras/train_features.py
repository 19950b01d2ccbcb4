"""Trains the small feature network of eval_fid.py --features cifar10, a CIFAR-10 classifier.

    python -m extras.train_features --data data --out cifar10net.pt

It writes the weights, in half precision, and beside them cifar10net_train.npz, what the network
sees in the 50,000 training images. eval_fid.py reads both from weights/, so that it needs neither
data nor network. Scores of two feature networks do not compare: do not replace the one that ships.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm

import eval_fid
import teachers
from teachers import UserError, opt


@dataclass
class Config(teachers.Options):
    """Trains the feature network of eval_fid.py --features cifar10."""

    data: str = opt("data", "CIFAR-10: a folder of .npz files, or torchvision's, downloaded to it")
    epochs: int = opt(16, "passes through the 50,000 training images", 1)
    batch: int = opt(128, "images a step", 2)
    lr: float = opt(0.2, "peak learning rate of SGD, one cycle", 1e-9, 100)
    seed: int = opt(0, "seed of every random draw", 0, 2**32 - 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    out: str = opt("cifar10net.pt", "a new file for the weights")


def train(config):
    """Writes the network and its statistics of the training images; returns its test accuracy.

    UserError if one of the files exists, for data that cannot be read, and a rate that is too high.
    """
    teachers.one_process()
    out, device = Path(config.out), teachers.pick_device(config.device)
    statistics = out.with_name(f"{out.stem}_train.npz")
    if out.exists() or statistics.exists() or not teachers.can_write(out.parent):
        raise UserError(f"--out {out}: give a new file, in a folder that exists, can be written to "
                        f"and has no {statistics.name}")
    images, labels = eval_fid.cifar10(config.data)
    test_images, test_labels = eval_fid.cifar10(config.data, "test")
    if len(images) < config.batch:
        raise UserError(f"--data {config.data} has {len(images)} training images, fewer than "
                        "--batch: lower it")
    torch.manual_seed(config.seed)
    net = eval_fid.Cifar10Net().to(device, memory_format=torch.channels_last)
    steps = len(images) // config.batch
    optimizer = torch.optim.SGD(net.parameters(), config.lr, momentum=0.9, nesterov=True,
                                weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr,
                                                   total_steps=config.epochs * steps)
    # crops[n, :, a, b] is image n moved by up to 4 pixels: a view, which takes no memory
    padded = F.pad(images.float(), (4, 4, 4, 4), mode="reflect").byte()
    crops = padded.unfold(2, 32, 1).unfold(3, 32, 1)
    with tqdm(total=config.epochs * steps, desc="cifar10net") as progress:
        for _ in range(config.epochs):
            order = torch.randperm(len(images))[:steps * config.batch]
            for rows in order.split(config.batch):
                a, b = torch.randint(9, (2, len(rows)))
                image = crops[rows, :, a, b]
                mirrored = torch.rand(len(rows), 1, 1, 1) < 0.5
                image = torch.where(mirrored, image.flip(3), image)
                logits = net.fc(net(image.to(device))[0])
                loss = F.cross_entropy(logits, labels[rows].to(device), label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update()
                if progress.n % 10 == 0:
                    progress.set_postfix_str(f"loss {loss.item():.3f}")

    weights = {name: w.half() if w.is_floating_point() else w
               for name, w in net.state_dict().items()}
    if not all(w.isfinite().all() for w in weights.values()):
        raise UserError(f"the weights are not finite: lower --lr, which was {config.lr:g}")
    teachers.save(out, {"weights": weights, "config": dataclasses.asdict(config)})
    saved = eval_fid.Cifar10Net()  # with the weights as they were rounded
    saved.load_state_dict(teachers.read(out)["weights"])
    saved = eval_fid.ready(saved).to(device, memory_format=torch.channels_last)
    saved.sha256 = eval_fid.sha256(out)

    seen = eval_fid.measure(saved, images, 100, device, "training images",
                            eval_fid.REFERENCE_FEATURES)
    # Rounded, to be small: by 6e-8 of each covariance, and 5e-4 of each feature.
    seen = {name: x.half() if name == "features" else x.float() for name, x in seen.items()}
    eval_fid.save_statistics(statistics, seen, saved, len(images))
    probs = eval_fid.measure(saved, test_images, 100, device, "test images")["probs"]
    return (probs.argmax(1) == test_labels).double().mean().item()


def main():
    config = Config.parse()
    print(f"test accuracy of {config.out}: {train(config):.4f}")


if __name__ == "__main__":
    teachers.run_script(main)
