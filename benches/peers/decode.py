"""How many picture files a second Pillow, torchvision and wgconv turn into RGB pixels, in one process each.

    python decode.py FOLDER [--wgconv PROGRAM] [--threads 2] [--rounds 5] [--image-size N]

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg. Without it, `--make WIDTHxHEIGHT` draws 10,000 JPEGs into FOLDER
first. Reading the files counts, from the system's cache: everything is read once before. wgconv's time is that of the whole
program, `wgconv data FOLDER --channels 3`, which also reads every file's head, looks for equal images and measures their
mean; the others' is that of the loop alone. The programs take turns; the median of the rounds counts. On a busy machine, the
time that the processor spent says more than the clock: both are printed.
"""

import argparse
import os
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from PIL import Image


def make(folder, width, height, count=10_000):
    """Smooth colours with some noise, quality 85: about as many bytes a pixel as a photograph."""
    rng = numpy.random.default_rng(0)
    for number in range(count):
        place = folder / ("train" if number % 6 else "test") / f"c{number % 10}"
        place.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), dtype=numpy.uint8)
        image = numpy.asarray(Image.fromarray(small).resize((width, height), Image.BICUBIC)).astype(numpy.int16)
        image += rng.integers(-12, 13, image.shape, dtype=numpy.int16)
        image = Image.fromarray(image.clip(0, 255).astype(numpy.uint8))
        image.save(place / f"{number:05}.jpg", quality=85)


def with_pillow(side):
    def decode(path):
        with Image.open(path) as image:
            image = image.convert("RGB")
            if side:
                image = image.resize((side, side), Image.BILINEAR)
            return numpy.asarray(image)

    return decode


def with_torchvision(side):
    import torch
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms.functional import resize

    torch.set_num_threads(1)  # one picture a thread

    def decode(path):
        image = decode_image(read_file(str(path)), ImageReadMode.RGB)
        return resize(image, [side, side], antialias=True) if side else image

    return decode


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--make", metavar="WIDTHxHEIGHT")
    parser.add_argument("--wgconv", metavar="PROGRAM")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--image-size", type=int)
    options = parser.parse_args()
    if options.make:
        make(options.folder, *map(int, options.make.split("x")))
    paths = sorted(options.folder.glob("*/*/*.jpg"))
    side = options.image_size

    def looped(decode):
        def run():
            with ThreadPoolExecutor(options.threads) as pool:
                for _ in pool.map(decode, paths, chunksize=64):
                    pass

        return run

    programs = {"Pillow": looped(with_pillow(side))}
    try:
        programs["torchvision"] = looped(with_torchvision(side))
    except ImportError:
        print("no torchvision here")
    if options.wgconv:
        size = ["--image-size", str(side), "--fit", "stretch"] if side else []
        command = [options.wgconv, "data", str(options.folder), "--channels", "3", *size]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(options.threads)}
        programs["wgconv"] = lambda: subprocess.run(
            command, env=environment, check=True, stdout=subprocess.DEVNULL
        )

    for path in paths:
        path.read_bytes()
    rates = {name: [] for name in programs}
    work = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, run in programs.items():
            start, before = time.perf_counter(), os.times()
            run()
            rates[name].append(len(paths) / (time.perf_counter() - start))
            spent = sum(after - before for after, before in zip(os.times()[:4], before[:4]))
            work[name].append(1e3 * spent / len(paths))
    print(f"{len(paths)} files, {sum(path.stat().st_size for path in paths) / len(paths):.0f} bytes on average")
    for name, all_rates in rates.items():
        rounds = ", ".join(f"{rate:,.0f}" for rate in all_rates)
        spent = statistics.median(work[name])
        print(f"{name}: {statistics.median(all_rates):,.0f} files/s ({rounds}), {spent:.3f} ms of processor time a file")


if __name__ == "__main__":
    main()
