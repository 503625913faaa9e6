#!/usr/bin/env python3
"""What PyTorch (cuDNN on a GPU, oneDNN on a CPU) needs for the same work.

  torch_conv.py conv  --cases FILE.csv               the three passes of each convolution, as `wgconv bench` times them
  torch_conv.py train --model lenet --batch 128      one training step of a small CNN; or --model FILE.py --input 3,32,32,
                                                     where FILE.py is what `wgconv summary MODEL --pytorch` prints
  torch_conv.py mnist --data DIR --batch 64          three epochs of lenet on MNIST, with the test set after each

One JSON object a line; times are medians in milliseconds. A sample of `conv` is the mean of many runs with one wait at
their end, by CUDA events on a GPU and by the host's clock on a CPU; runs read copies of the inputs in turn, together
more than the last cache holds, unless --warm-cache. GFLOP/s counts 2*N*K*P*Q*C*R*S/groups for every pass, padded taps
included. A sample of `train` is one step.
"""
import argparse
import csv
import gzip
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

FEWEST_SAMPLES = 5
MOST_RUNS = 1000


class Clock:
    """Milliseconds that the device needs for `times` runs."""

    def __init__(self, device):
        self.cuda = device == "cuda"

    def __call__(self, run, times):
        if not self.cuda:
            start = time.perf_counter()
            for _ in range(times):
                run()
            return (time.perf_counter() - start) * 1e3
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(times):
            run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)


def quartiles(run, clock, budget_ms, sample_ms):
    """Quartiles of one run's milliseconds; a sample lasts `sample_ms` where the budget allows."""
    for _ in range(3):  # cuDNN compares its algorithms in the first
        once = max(clock(run, 1), 1e-6)
    times = int(min(max(min(sample_ms, budget_ms / FEWEST_SAMPLES) / once, 1), MOST_RUNS))
    samples, spent = [], 0.0
    while len(samples) < FEWEST_SAMPLES or spent < budget_ms:
        elapsed = clock(run, times)
        spent += elapsed
        samples.append(elapsed / times)
    return statistics.quantiles(samples, method="inclusive")


def turns(make, cache_bytes):
    """Copies of what `make` makes, to be taken in turn, together more than `cache_bytes`."""
    first = make()
    size = sum(tensor.numel() * tensor.element_size() for tensor in first)
    copies = [first] + [make() for _ in range(min(cache_bytes // size, MOST_RUNS - 1))]
    state = {"next": 0}

    def take():
        state["next"] = (state["next"] + 1) % len(copies)
        return copies[state["next"]]

    return take, len(copies)


def conv(args, dtype, about):
    clock = Clock(args.device)
    cache_bytes = 0 if args.warm_cache else (256 if args.device == "cuda" else 128) << 20
    of = lambda layout: lambda *sizes: torch.randn(*sizes, device=args.device, dtype=dtype).to(memory_format=layout)
    layouts = {last: of(torch.channels_last if last else torch.contiguous_format) for last in about["layouts"]}
    about = {key: value for key, value in about.items() if key != "layouts"}
    with open(args.cases, encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    for row in rows:
        c = {name: int(text) for name, text in row.items() if name != "name"}
        if args.replace_batch:
            c["batch"] = args.replace_batch
        groups = c.setdefault("groups", 1)
        pair = lambda name: (c[name + "_height"], c[name + "_width"])
        c.setdefault("dilation_height", 1), c.setdefault("dilation_width", 1)
        stride, pad, dilation = pair("stride"), pair("pad"), pair("dilation")
        x_size = (c["batch"], c["in_channels"], *pair("in"))
        w_size = (c["out_channels"], c["in_channels"] // groups, *pair("kernel"))
        out = lambda size, p, d, k, s: (size + 2 * p - d * (k - 1) - 1) // s + 1
        y_size = (x_size[0], w_size[0], *map(out, x_size[2:], pad, dilation, w_size[2:], stride))
        flops = 2 * math.prod(y_size) * w_size[1] * w_size[2] * w_size[3]

        def backward(dy, x, w, mask):
            return torch.ops.aten.convolution_backward(
                dy, x, w, None, stride, pad, dilation, False, (0, 0), groups, mask)

        passes = {
            "forward": ((x_size, w_size), lambda x, w, _: F.conv2d(x, w, None, stride, pad, dilation, groups)),
            "grad_filters": ((x_size, y_size), lambda x, dy, w: backward(dy, x, w, (False, True, False))),
            "grad_input": ((w_size, y_size), lambda w, dy, x: backward(dy, x, w, (True, False, False))),
        }
        unread = {"forward": (), "grad_filters": w_size, "grad_input": x_size}
        for name, (sizes, run) in passes.items():
            if args.pass_ not in ("all", name):
                continue
            rows = []
            for channels_last, random in layouts.items():
                try:
                    other = random(*unread[name]) if unread[name] else None
                    take, copies = turns(lambda: [random(*size) for size in sizes], cache_bytes)
                    low, ms, high = quartiles(lambda: run(*take(), other), clock, args.budget * 1e3, 20)
                except RuntimeError as error:  # out of memory, for instance: the others are still wanted
                    print(f"{x_size} {w_size}, {name}: no row, {error}", file=sys.stderr)
                    continue
                rows.append({**about, "channels_last": channels_last, "case": c, "pass": name, "ms": ms,
                             "ms_quartiles": [low, high], "gflops": flops / ms / 1e6, "warm_cache": args.warm_cache,
                             "input_copies": copies})
            if rows:
                print(json.dumps(min(rows, key=lambda row: row["ms"])), flush=True)


class LeNet(nn.Sequential):
    input_shape = (1, 28, 28)

    def __init__(self):
        super().__init__(nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10))


class VggMini(nn.Sequential):
    input_shape = (3, 32, 32)

    def __init__(self):
        conv = lambda cin, cout: (nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU())
        super().__init__(*conv(3, 32), *conv(32, 32), nn.MaxPool2d(2), *conv(32, 64), *conv(64, 64), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(64 * 64, 128), nn.ReLU(), nn.Linear(128, 10))


def train(args, dtype, about):
    layouts = about.pop("layouts")
    rows = [time_steps(args, dtype, {**about, "channels_last": channels_last}) for channels_last in layouts]
    print(json.dumps(min(rows, key=lambda row: row["ms"])), flush=True)


MODELS = {"lenet": LeNet, "vgg-mini": VggMini}


def model_of_file(path):
    source = {}
    exec(Path(path).read_text(), source)
    return source["Net"]()


def time_steps(args, dtype, about):
    net = model_of_file(args.model) if args.model.endswith(".py") else MODELS[args.model]()
    net = net.to(args.device)
    shape = [int(size) for size in args.input.split(",")] if args.input else net.input_shape
    x = torch.randn(args.batch, *shape, device=args.device)
    if about["channels_last"]:
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    opt = torch.optim.SGD(trained, 0.01, momentum=0.9, fused=args.device == "cuda" or None)
    y = torch.randint(0, 10, (args.batch,), device=args.device)
    forward = torch.compile(net) if args.compile else net

    def step():
        opt.zero_grad(set_to_none=True)
        with torch.autocast(args.device, dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(forward(x), y)
        loss.backward()
        opt.step()

    run = step
    if args.graph:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay
    low, ms, high = quartiles(run, Clock(args.device), max(args.budget, 2.0) * 1e3, 0)
    return {**about, "model": Path(args.model).stem, "batch": args.batch, "ms": ms, "ms_quartiles": [low, high],
            "images_per_s": args.batch / ms * 1e3, "graph": args.graph, "compile": args.compile}


def images(folder, name):
    """An IDX file of images as bytes, and its labels."""
    def read(path, header):
        for end, opener in (("", open), (".gz", gzip.open)):
            if os.path.exists(path + end):
                with opener(path + end, "rb") as file:
                    return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)[header:]
        sys.exit(f"{path}: no such file")
    x = read(os.path.join(folder, f"{name}-images-idx3-ubyte"), 16).reshape(-1, 1, 28, 28)
    return x, read(os.path.join(folder, f"{name}-labels-idx1-ubyte"), 8).long()


def mnist(args, _, about):
    layouts = about.pop("layouts")
    rows = [train_on_mnist(args, {**about, "channels_last": channels_last}) for channels_last in layouts]
    print(json.dumps(min(rows, key=lambda row: row["seconds"])), flush=True)


def train_on_mnist(args, about):
    """Training as `wgconv train` does it: shuffled batches, SGD with momentum, a measured test set after every epoch."""
    torch.manual_seed(0)
    net = LeNet().to(args.device)
    layout = torch.channels_last if about["channels_last"] else torch.contiguous_format
    net = net.to(memory_format=layout)
    (x, y), (test_x, test_y) = (images(args.data, name) for name in ("train", "t10k"))
    mean, deviation = (x / 255.0).mean(), (x / 255.0).std()
    ready = lambda part: ((part / 255.0 - mean) / deviation).to(args.device).to(memory_format=layout)
    opt = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9)
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        net.train()
        for rows in torch.randperm(len(x))[:len(x) // args.batch * args.batch].split(args.batch):
            opt.zero_grad(set_to_none=True)
            F.cross_entropy(net(ready(x[rows])), y[rows].to(args.device)).backward()
            opt.step()
        with torch.no_grad():
            parts = zip(test_x.split(1000), test_y.split(1000))
            right = sum((net(ready(part)).argmax(1).cpu() == labels).sum().item() for part, labels in parts)
        if args.until and right / len(test_x) >= args.until:
            break
    return {**about, "model": "lenet", "batch": args.batch, "epochs": epoch,
            "seconds": time.perf_counter() - start, "accuracy": right / len(test_x)}


def cpu_name():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return "cpu"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["conv", "train", "mnist"])
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    p.add_argument("--dtype", default="f32", choices=["f32", "tf32", "f16", "bf16"])
    layouts = p.add_mutually_exclusive_group()
    layouts.add_argument("--channels-last", action="store_true")
    layouts.add_argument("--best-layout", action="store_true", help="try both layouts, and report the faster")
    p.add_argument("--threads", type=int)
    p.add_argument("--budget", type=float, default=0.3, metavar="SECONDS", help="time to spend on a row, at least")
    p.add_argument("--batch", type=int, help="train: images a step, 128 if not given; conv: replaces the file's")
    of_conv = p.add_argument_group("conv")
    of_conv.add_argument("--cases", metavar="FILE.csv")
    of_conv.add_argument("--pass", dest="pass_", default="all", choices=["all", "forward", "grad_filters", "grad_input"])
    of_conv.add_argument("--warm-cache", action="store_true", help="let every run read the same inputs")
    of_train = p.add_argument_group("train")
    of_train.add_argument("--model", default="lenet", metavar="NAME|FILE.py", help=f"one of {', '.join(MODELS)}, or a file")
    of_train.add_argument("--input", metavar="C,H,W", help="size of an image, for a file")
    of_train.add_argument("--compile", action="store_true")
    of_train.add_argument("--graph", action="store_true")
    of_mnist = p.add_argument_group("mnist")
    of_mnist.add_argument("--data", metavar="DIR", default="mnist", help="folder of MNIST's IDX files")
    of_mnist.add_argument("--epochs", type=int, default=3)
    of_mnist.add_argument("--until", type=float, metavar="ACCURACY", help="end after the epoch that reaches it")
    args = p.parse_args()
    if args.what == "conv" and not args.cases:
        p.error("conv needs --cases")
    args.replace_batch, args.batch = args.batch, args.batch or 128
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.dtype == "tf32"
    dtype = {"f16": torch.float16, "bf16": torch.bfloat16}.get(args.dtype, torch.float32)
    cuda = args.device == "cuda"
    about = {"program": "torch", "version": torch.__version__, "backend": args.device, "dtype": args.dtype,
             "adapter": torch.cuda.get_device_name() if cuda else cpu_name(), "layouts": [False, True] if args.best_layout else [args.channels_last]}
    if not cuda:
        about["threads"] = torch.get_num_threads()
    {"conv": conv, "train": train, "mnist": mnist}[args.what](args, dtype, about)


if __name__ == "__main__":
    main()
