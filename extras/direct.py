"""Direct regression, the baseline that motivates BOOT: from noise to the teacher's 50-step image.

    python -m extras.direct

It takes boot.py's options and shares all of its run but the loss: instead of bootstrapping, the
student learns from pairs of a noise sample and the teacher's image of it. The first step draws
them, with as many teacher calls as BOOT would make in the same run: 408 pairs by default. The loss
stands in the column "bootstrap" of log.csv.
"""

import math

import torch
import torch.nn.functional as F

import boot
import teachers
from teachers import UserError

STEPS = 50  # of the teacher, for each pair


class Config(boot.Config):
    """Direct regression, with the options of boot.py."""

    def __post_init__(self):
        for name in ("times", "beta"):
            if getattr(self, name) != getattr(boot.Config, name):
                raise UserError(f"direct regression has no --{name}: leave it out")
        self.out = self.out or self.run_folder("direct")
        super().__post_init__()

    @property
    def count(self):
        """How many pairs the teacher calls of this run of BOOT pay for."""
        hop = 1 if self.solver in ("euler", "ddim") else 2
        return self.steps * (hop * self.batch + math.ceil(self.batch / 8)) // STEPS

    def fitted(self, teacher):
        """As boot.py's; UserError also for a range of w, and if the steps pay for no pair."""
        config = super().fitted(teacher)
        if len(config.guidance) > 1:
            raise UserError("direct regression takes one --guidance: give no range")
        if config.count < 1:
            raise UserError(f"--steps {config.steps} pays for no pair: give more")
        return config


def pairs(teacher, config):
    """Noise samples (N, C, H, W), labels (N,) or None, the teacher's images; N is config.count."""
    xi, c = teacher.noise(config.count, config.seed + 1), teacher.labels(config.count)
    images = teacher.in_parts(lambda xi, c: teacher.ddim(
        xi, STEPS, c, config.guidance[0], config.t_max, config.t_min), xi, c, desc="pairs")
    return [x if x is None else x.to(teacher.device) for x in (xi, c, images)]


def train(config):
    """boot.train(config) with the loss || y_theta(xi, t_min) - the teacher's image ||^2."""
    drawn = []

    def losses(student, teacher, xi, t, s, c, w, config):
        if not drawn:  # not before the run: a wrong --out costs nothing
            drawn.extend(pairs(teacher, config))
        noise, labels, images = drawn
        rows = torch.randint(len(noise), (len(xi),), device=noise.device)
        c = None if labels is None else labels[rows]
        y = student(noise[rows], torch.full_like(t, config.t_min), c, w)
        loss = F.mse_loss(y, images[rows])
        return loss, torch.zeros_like(loss)  # nothing is bootstrapped, and there is no boundary

    return boot.train(config, losses)


def main():
    config = Config.parse()
    if config.sample:
        raise UserError("this trains: draw a student by python boot.py --sample")
    for who, mse in train(config).items():
        print(f"  {who:20s} {mse:.4f}")


if __name__ == "__main__":
    teachers.run_script(main)
