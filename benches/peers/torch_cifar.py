"""CIFAR-10 with PyTorch: the recipes cifar-fast-small and cifar-fast, to compare with.

    python torch_cifar.py FOLDER [--widths 64,128,128] [--epochs 11] [--device cpu|cuda] [--threads 2] [--seed 0] [--amp]

FOLDER holds train/CLASS/* and test/CLASS/*. Written from the published facts of airbench (Keller Jordan, 2024), for a mean
loss. Prints a JSON line an epoch, and one at the end, with test-time augmentation too; seconds are those of training alone.
Needs torch, numpy and pillow."""
import time

start = time.time()
import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

arguments = argparse.ArgumentParser()
arguments.add_argument("folder", type=Path)
arguments.add_argument("--widths", default="64,128,128")
arguments.add_argument("--epochs", type=float, default=11)
arguments.add_argument("--device", default="cpu")
arguments.add_argument("--threads", type=int, default=2)
arguments.add_argument("--seed", type=int, default=0)
arguments.add_argument("--amp", action="store_true")
arguments.add_argument("--batch", type=int, default=1024)
options = arguments.parse_args()
torch.manual_seed(options.seed)
torch.set_num_threads(options.threads)
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
device = torch.device(options.device)


def load(part):
    root, images, labels = options.folder / part, [], []
    for label, folder in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        for file in sorted(folder.iterdir()):
            images.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).to(device), torch.tensor(labels).to(device)


mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1).to(device)
deviation = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1).to(device)
(images, labels), (test_images, test_labels) = load("train"), load("test")
images, test_images = ((part.float() / 255 - mean) / deviation for part in (images, test_images))
loaded = time.time()


class Group(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.c1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.c2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.b1, self.b2 = (nn.BatchNorm2d(width, eps=1e-12, momentum=0.4) for _ in range(2))
        for conv in (self.c1, self.c2):
            nn.init.dirac_(conv.weight.data[: conv.weight.size(1)])
        for norm in (self.b1, self.b2):
            norm.weight.requires_grad = False

    def forward(self, x):
        return F.gelu(self.b2(self.c2(F.gelu(self.b1(F.max_pool2d(self.c1(x), 2))))))


class Net(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.white = nn.Conv2d(3, 24, 2)
        self.groups = nn.Sequential(*(Group(*pair) for pair in zip([24, *widths], widths)))
        self.head = nn.Linear(widths[-1], 10, bias=False)

    def whiten(self, images):
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double().cpu()
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + 5e-4).sqrt()).T.flip(0).float().view(12, 3, 2, 2)
        self.white.weight.data[:] = torch.cat([filters, -filters]).to(device)
        self.white.weight.requires_grad = False
        self.white.bias.data.zero_()

    def forward(self, x):
        return self.head(F.max_pool2d(self.groups(F.gelu(self.white(x))), 3).flatten(1)) / 9


net = Net([int(width) for width in options.widths.split(",")]).to(device).to(memory_format=torch.channels_last)
net.whiten(images[:5000])
steps_per_epoch = len(images) // options.batch
total = math.ceil(steps_per_epoch * options.epochs)
rate, decay, bias_factor = 1.50, 1.33e-3, 64
trained = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
shifts = [parameter for name, parameter in trained.items() if ".b1." in name or ".b2." in name]
others = [parameter for name, parameter in trained.items() if not (".b1." in name or ".b2." in name)]
groups = [
    {"params": shifts, "lr": rate * bias_factor, "weight_decay": decay / bias_factor},
    {"params": others, "lr": rate, "weight_decay": decay},
]
optimizer = torch.optim.SGD(groups, momentum=0.85, nesterov=True)
peaks = [group["lr"] for group in optimizer.param_groups]
slow = {name: value.clone() for name, value in net.state_dict().items() if value.is_floating_point()}


def factor(step):
    rise = int(0.23 * total)
    return 0.2 + 0.8 * step / rise if step < rise else 1 - (1 - 0.07) * (step - rise) / (total - rise)


def look(kept):
    for name, value in net.state_dict().items():
        if name in slow:
            slow[name].lerp_(value, 1 - kept)
            value.copy_(slow[name])


def augmented(x, epoch):
    padded, out = F.pad(x, (2,) * 4, "reflect"), torch.empty_like(x)
    down, right = (torch.randint(0, 5, (len(x),), device=device) for _ in range(2))
    for i in range(5):
        for j in range(5):
            rows = (down == i) & (right == j)
            out[rows] = padded[rows, :, i : i + 32, j : j + 32]
    return out.flip(-1) if epoch % 2 else out


@torch.no_grad()
def accuracy(is_augmented):
    net.eval()
    right = 0
    mirrored = lambda x: 0.5 * net(x) + 0.5 * net(x.flip(-1))
    for x, y in zip(test_images.split(1000), test_labels.split(1000)):
        x = x.contiguous(memory_format=torch.channels_last)
        if is_augmented:
            padded = F.pad(x, (1,) * 4, "reflect")
            logits = 0.5 * mirrored(x) + 0.25 * mirrored(padded[:, :, :32, :32]) + 0.25 * mirrored(padded[:, :, 2:, 2:])
        else:
            logits = net(x)
        right += int((logits.argmax(1) == y).sum())
    net.train()
    return right / len(test_images)


flipped = torch.rand(len(images), device=device) < 0.5
images[flipped] = images[flipped].flip(-1)
step, epoch, seconds = 0, 0, 0.0
while step < total:
    epoch_start = time.time()
    x, order, losses = augmented(images, epoch), torch.randperm(len(images), device=device), []
    for rows in order[: steps_per_epoch * options.batch].split(options.batch):
        if step >= total:
            break
        for group, peak in zip(optimizer.param_groups, peaks):
            group["lr"] = peak * factor(step)
        if step == 3 * steps_per_epoch:
            net.white.bias.requires_grad = False
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, enabled=options.amp):
            logits = net(x[rows].contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits, labels[rows], label_smoothing=0.2)
        loss.backward()
        optimizer.step()
        step += 1
        losses.append(loss.item())
        if step % 5 == 0:
            look(0.95**5 * (step / total) ** 3)
    seconds += time.time() - epoch_start
    epoch += 1
    row = {"epoch": epoch, "step": step, "train/loss": float(np.mean(losses)), "test/accuracy": accuracy(False), "seconds": seconds}
    print(json.dumps(row), flush=True)
look(1.0)
print(json.dumps({
    "final": True, "test/accuracy": accuracy(False), "test/accuracy_tta": accuracy(True), "seconds": seconds,
    "loading": loaded - start, "whole": time.time() - start, "parameters": sum(value.numel() for value in trained.values()),
}), flush=True)
