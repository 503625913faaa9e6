"""Small pictures in every format and mode, and the pixels that Pillow sees in them: python pictures.py > pictures.json

Made with Pillow 13.0.0 and NumPy 2.4.6. `rgb` is the picture upright, over white, in RGB; `grey` is Pillow's "L" of it. 16 bits
are scaled to 8 with rounding, which Pillow does not do. `fits` are resized with BILINEAR: [how, height, width, pixels]."""
import io, json, sys
import numpy as np
from PIL import Image, ImageOps

rng = np.random.default_rng(3)
HEIGHT, WIDTH = 6, 9

def smooth(channels, height=HEIGHT, width=WIDTH):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(0.5 * x * (c + 1) + 0.7 * y) for c in range(channels)]
    return np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)

def image(mode):
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = smooth(channels)
    return Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)

def seen(file):
    opened = Image.open(io.BytesIO(file))
    opened.seek(0)
    picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I"):
        picture = Image.fromarray(((np.asarray(picture).astype(np.int64) + 128) // 257).astype(np.uint8), "L")
    if "A" in picture.mode or "transparency" in picture.info:
        over = picture.convert("RGBA")
        under = Image.new("RGB", over.size, "white")
        under.paste(over, mask=over.getchannel("A"))
        return under
    return picture.convert("RGB")

cases = []

def add(name, picture, format, tolerance=0, **options):
    file = io.BytesIO()
    picture.save(file, format, **options)
    rgb = seen(file.getvalue())
    cases.append({"name": name, "file": file.getvalue().hex(), "height": rgb.height, "width": rgb.width, "tolerance": tolerance,
                  "rgb": rgb.tobytes().hex(), "grey": rgb.convert("L").tobytes().hex()})

deep = Image.fromarray(rng.integers(0, 65536, (HEIGHT, WIDTH)).astype(np.uint16))
palette = image("RGB").quantize(16)
bits = image("L").convert("1")
for format in "png", "bmp", "tiff", "ppm":
    add(f"l.{format}", image("L"), format)
    add(f"rgb.{format}", image("RGB"), format)
    add(f"1.{format}", bits, format)
for format in "png", "bmp", "gif":
    add(f"palette.{format}", palette, format)
add("la.png", image("LA"), "png")
add("rgba.png", image("RGBA"), "png")
add("16.png", deep, "png")
add("palette-transparent.png", palette, "png", transparency=2)
add("palette-transparent.gif", palette, "gif", transparency=2)
add("animated.gif", palette, "gif", save_all=True, append_images=[palette.transpose(Image.Transpose.ROTATE_180)])
add("rgba.tiff", image("RGBA"), "tiff")
add("16.tiff", deep, "tiff")
add("lzw.tiff", image("RGB"), "tiff", compression="tiff_lzw")
add("deflate.tiff", image("L"), "tiff", compression="tiff_adobe_deflate")
add("rgb.webp", image("RGB"), "webp", lossless=True)
add("rgba.webp", image("RGBA"), "webp", lossless=True, exact=True)
add("lossy.webp", image("RGB"), "webp", 4, quality=95)
add("l.jpg", image("L"), "jpeg", 2, quality=95)
add("rgb.jpg", image("RGB"), "jpeg", 4, quality=95, subsampling=0)
add("progressive.jpg", image("RGB"), "jpeg", 4, quality=95, subsampling=0, progressive=True)
add("cmyk.jpg", image("CMYK"), "jpeg", 6, quality=95)
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    add(f"exif-{orientation}.jpg", image("L"), "jpeg", 2, quality=95, exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
add("exif.png", image("RGB"), "png", exif=exif)
add("exif.webp", image("RGB"), "webp", lossless=True, exif=exif)
add("exif.tiff", image("RGB"), "tiff", exif=exif)

fits = []
for mode, channels in ("L", 1), ("RGB", 3):
    pixels = smooth(channels, 20, 33)
    source = Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode)
    for height, width in (8, 7), (12, 20), (40, 50):
        size, how = (width, height), Image.Resampling.BILINEAR
        for name, fitted in (("stretch", source.resize(size, how)), ("crop", ImageOps.fit(source, size, how)),
                             ("pad", ImageOps.pad(source, size, how, color="white"))):
            fits.append([name, height, width, channels, fitted.tobytes().hex()])
sources = {str(c): smooth(c, 20, 33).tobytes().hex() for c in (1, 3)}
json.dump({"cases": cases, "sources": sources, "fits": fits}, sys.stdout, indent=0)
print()
