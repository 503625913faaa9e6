//! Decoding picture files: PNG, JPEG, BMP, GIF, WebP, TIFF, PNM, told apart by their content.

use std::io::Cursor;
use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{Colour, Fit};
use crate::{Error, Result, files};

/// The largest size of a picture file in bytes.
pub const MAX_PICTURE_BYTES: u64 = 256 << 20;
/// Largest height and width of a picture, before it is scaled.
const MAX_PICTURE_SIDE: u32 = 1 << 15;
/// Memory that decoding one picture may take, in bytes.
const MAX_DECODER_MEMORY: u64 = 256 << 20;

/// What the message about a file that is no picture expects.
const EXPECTED: &str = "a PNG, JPEG, BMP, GIF, WebP, TIFF or PNM picture";

/// The content of a picture file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    files::read(path, MAX_PICTURE_BYTES)
}

/// Whether a file that begins with these bytes is surely a picture that can be read. BMP and PNM begin with two letters,
/// as a text may too.
pub(super) fn is_picture(start: &[u8]) -> bool {
    use ImageFormat::{Gif, Jpeg, Png, Tiff, WebP};
    matches!(image::guess_format(start), Ok(Gif | Jpeg | Png | Tiff | WebP))
}

/// What the head of a picture file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Height and width, upright.
    pub size: [usize; 2],
    /// Whether it has colours; a format that cannot say so is looked at.
    pub has_colour: bool,
    /// Whether any of its pixels may be transparent.
    pub has_alpha: bool,
    /// Memory that decoding takes, in bytes.
    pub bytes: u64,
}

impl Head {
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Head> {
        let (mut decoder, format) = decoder(path, bytes)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let (width, height) = decoder.dimensions();
        let size = match turns_sideways(orientation) {
            true => [width as usize, height as usize],
            false => [height as usize, width as usize],
        };
        let (color, memory) = (decoder.color_type(), decoder.total_bytes());
        // A PNG file's colours are in a palette if its head says type 3.
        let has_palette = format == ImageFormat::Png && bytes.get(25) == Some(&3);
        let cannot_say =
            has_palette || matches!(format, ImageFormat::Bmp | ImageFormat::Gif | ImageFormat::WebP);
        let has_colour = match color.has_color() && cannot_say {
            true => is_coloured(&decoded(path, decoder)?),
            false => color.has_color(),
        };
        Ok(Head { size, has_colour, has_alpha: color.has_alpha(), bytes: memory })
    }
}

fn turns_sideways(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate90FlipH | Rotate270 | Rotate270FlipH)
}

/// Whether any pixel that can be seen is not grey.
fn is_coloured(image: &DynamicImage) -> bool {
    let is_grey = |rgb: &[u8]| rgb[0] == rgb[1] && rgb[1] == rgb[2];
    match image {
        DynamicImage::ImageRgb8(image) => !image.as_raw().chunks_exact(3).all(is_grey),
        DynamicImage::ImageRgba8(image) => {
            !image.as_raw().chunks_exact(4).all(|pixel| pixel[3] == 0 || is_grey(&pixel[..3]))
        }
        _ => true,
    }
}

fn decoder<'a>(path: &Path, bytes: &'a [u8]) -> Result<(Box<dyn ImageDecoder + 'a>, ImageFormat)> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_PICTURE_SIDE);
    limits.max_image_height = Some(MAX_PICTURE_SIDE);
    limits.max_alloc = Some(MAX_DECODER_MEMORY);
    let mut reader = ImageReader::new(Cursor::new(bytes));
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(Error::io("read", path))?;
    let format = reader.format();
    let cut_off = match format {
        Some(ImageFormat::Jpeg) if is_jpeg_cut_off(bytes) => Some("JPEG"),
        Some(ImageFormat::WebP) if is_webp_cut_off(bytes) => Some("WebP"),
        _ => None,
    };
    if let Some(format) = cut_off {
        return Err(Error::file(path, format!("a whole {format} picture"), "one that is cut off"));
    }
    let decoder = reader.into_decoder().map_err(broken(path))?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(Error::file(path, EXPECTED, "one without pixels"));
    }
    if decoder.total_bytes() > MAX_DECODER_MEMORY {
        let most = format!("a picture of at most {} MiB", MAX_DECODER_MEMORY >> 20);
        return Err(Error::file(path, most, format!("{height}x{width} pixels")));
    }
    Ok((Box::new(decoder), format.expect("a format, since there is a decoder")))
}

fn decoded(path: &Path, decoder: Box<dyn ImageDecoder + '_>) -> Result<DynamicImage> {
    DynamicImage::from_decoder(decoder).map_err(broken(path))
}

/// A closure that turns a decoder's error, whose message may have several lines, into one line.
fn broken(path: &Path) -> impl Fn(image::ImageError) -> Error {
    move |error| {
        let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        Error::file(path, EXPECTED, format!("one that cannot be decoded: {reason}"))
    }
}

/// Whether a JPEG file ends before its image does (marker FF D9); the decoder would fill the missing part with grey and
/// report no error. Bytes behind the image's end do not matter.
fn is_jpeg_cut_off(jpeg: &[u8]) -> bool {
    let mut rest = jpeg.get(2..).unwrap_or_default();
    loop {
        // The next marker, FF and a code; what may stand before it is the decoder's business.
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff);
        let Some(first) = rest.windows(2).position(is_marker) else { return true };
        let code = rest[first + 1];
        rest = &rest[first + 2..];
        match code {
            0xd9 => return false,
            // Markers without content: restarts inside a scan, a second start, TEM.
            0x01 | 0xd0..=0xd8 => {}
            // A segment, by its length. A scan's data follow theirs, and hold no other markers than restarts.
            _ => {
                let length = rest.first_chunk().map_or(0, |&length| u16::from_be_bytes(length));
                let Some(behind) = rest.get(usize::from(length).max(2)..) else { return true };
                rest = behind;
            }
        }
    }
}

/// Whether a WebP file ends before its content or one of its chunks does. What is missing may be the orientation alone, and
/// the decoder would allocate a chunk of any size.
fn is_webp_cut_off(webp: &[u8]) -> bool {
    let length = |bytes: &[u8]| bytes.first_chunk().map_or(0, |&length| u32::from_le_bytes(length) as usize);
    let Some(content) = webp.get(8..) else { return true };
    let Some(mut chunks) = content.get(..length(&webp[4..])).and_then(|content| content.get(4..)) else {
        return true;
    };
    // A chunk: its name, its length, its content, which is padded to an even length; the last padding may be missing.
    while let Some((head, rest)) = chunks.split_at_checked(8) {
        let length = length(&head[4..]);
        if length > rest.len() {
            return true;
        }
        chunks = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    false
}

/// A decoded picture: upright and opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Height and width.
    size: [usize; 2],
    /// 1 or 3.
    channels: usize,
    /// [height, width, channels]
    pixels: Vec<u8>,
    /// Whether the background shows through.
    was_transparent: bool,
}

impl Picture {
    /// A picture of grey or RGB pixels, [height, width, channels].
    ///
    /// # Panics
    /// When the pixels do not fit the size, or there are neither 1 nor 3 channels.
    pub fn new(size: [usize; 2], channels: usize, pixels: Vec<u8>) -> Self {
        assert!(matches!(channels, 1 | 3) && pixels.len() == size[0] * size[1] * channels);
        Picture { size, channels, pixels, was_transparent: false }
    }

    /// The picture that a file of these bytes holds, over `background` where it is transparent.
    pub fn decode(path: &Path, bytes: &[u8], background: Colour) -> Result<Picture> {
        let (mut decoder, _) = decoder(path, bytes)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let image = decoded(path, decoder)?;
        let was_transparent = is_transparent(&image);
        let mut image = opaque(image, background);
        image.apply_orientation(orientation);
        let size = [image.height() as usize, image.width() as usize];
        let channels = usize::from(image.color().channel_count());
        Ok(Picture { was_transparent, ..Picture::new(size, channels, image.into_bytes()) })
    }

    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    pub fn was_transparent(&self) -> bool {
        self.was_transparent
    }

    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The same in grey: ITU-R BT.601's luma, rounded, as Pillow and most others compute it.
    pub fn into_grey(self) -> Picture {
        if self.channels == 1 {
            return self;
        }
        let luma = |rgb: &[u8]| {
            let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
            // 0.299, 0.587 and 0.114 in units of 2^-16.
            ((19595 * red + 38470 * green + 7471 * blue + (1 << 15)) >> 16) as u8
        };
        let pixels = self.pixels.chunks_exact(3).map(luma).collect();
        Picture { channels: 1, pixels, ..self }
    }

    /// The same in three channels.
    pub fn into_rgb(self) -> Picture {
        if self.channels == 3 {
            return self;
        }
        let pixels = self.pixels.iter().flat_map(|&grey| [grey; 3]).collect();
        Picture { channels: 3, pixels, ..self }
    }

    /// The same in another size.
    pub fn fitted(self, size: [usize; 2], fit: Fit, background: Colour) -> Picture {
        if self.size == size {
            return self;
        }
        let [own, wanted] = [self.size, size].map(|size| size.map(|side| side as f64));
        let scales = [wanted[0] / own[0], wanted[1] / own[1]];
        match fit {
            Fit::Stretch => self.scaled(size, [0.0; 2], own),
            Fit::Crop => {
                let scale = scales[0].max(scales[1]);
                let part = [0, 1].map(|axis| (wanted[axis] / scale).min(own[axis]));
                let start = [0, 1].map(|axis| (own[axis] - part[axis]) / 2.0);
                self.scaled(size, start, part)
            }
            Fit::Pad => {
                let scale = scales[0].min(scales[1]);
                let inner = [0, 1].map(|axis| ((own[axis] * scale).round() as usize).clamp(1, size[axis]));
                let scaled = if inner == self.size { self } else { self.scaled(inner, [0.0; 2], own) };
                scaled.framed(size, background)
            }
        }
    }

    /// A part of the picture, by its first corner and its size, in another size.
    fn scaled(&self, size: [usize; 2], start: [f64; 2], part: [f64; 2]) -> Picture {
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
            .crop(start[1], start[0], part[1], part[0])
            .use_alpha(false);
        let pixels = match self.channels {
            1 => self.resampled::<U8>(size, &options),
            _ => self.resampled::<U8x3>(size, &options),
        };
        Picture { size, pixels, ..*self }
    }

    /// The values of the picture's pixels, which are of type `P`, in another size. (A resizer that finds the type out itself
    /// is compiled for eleven types that no picture here has.)
    fn resampled<P: PixelTrait>(&self, size: [usize; 2], options: &ResizeOptions) -> Vec<u8> {
        let [[own_height, own_width], [height, width]] =
            [self.size, size].map(|size| size.map(|side| side as u32));
        let source = TypedImageRef::<P>::from_buffer(own_width, own_height, &self.pixels)
            .expect("pixels of this size");
        let mut pixels = vec![0; size[0] * size[1] * P::size()];
        let mut scaled =
            TypedImage::<P>::from_buffer(width, height, &mut pixels).expect("pixels of that size");
        Resizer::new().resize_typed(&source, &mut scaled, options).expect("a part of a picture");
        pixels
    }

    /// The picture in the middle of a larger one.
    fn framed(self, size: [usize; 2], background: Colour) -> Picture {
        let inner = if background.is_grey() { self } else { self.into_rgb() };
        let channels = inner.channels;
        let mut pixels = background.0[..channels].repeat(size[0] * size[1]);
        let [top, left] = [0, 1].map(|axis| (size[axis] - inner.size[axis]) / 2);
        let (row, frame_row) = (inner.size[1] * channels, size[1] * channels);
        for (line, source) in inner.pixels.chunks_exact(row).enumerate() {
            let first = (top + line) * frame_row + left * channels;
            pixels[first..first + row].copy_from_slice(source);
        }
        Picture { size, pixels, ..inner }
    }
}

/// Whether a background would show through.
fn is_transparent(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageLumaA8(image) => image.pixels().any(|pixel| pixel.0[1] < u8::MAX),
        DynamicImage::ImageRgba8(image) => image.pixels().any(|pixel| pixel.0[3] < u8::MAX),
        image => image.color().has_alpha(),
    }
}

/// The image in 8 bits a channel over a background, grey or RGB.
fn opaque(image: DynamicImage, background: Colour) -> DynamicImage {
    let image = match image.color() {
        ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => image,
        ColorType::L16 => image.into_luma8().into(),
        ColorType::La16 => image.into_luma_alpha8().into(),
        color if color.has_alpha() => image.into_rgba8().into(),
        color if color.has_color() => image.into_rgb8().into(),
        _ => image.into_luma8().into(),
    };
    let image = match image {
        DynamicImage::ImageLumaA8(image) if !background.is_grey() => {
            DynamicImage::ImageLumaA8(image).into_rgba8().into()
        }
        image => image,
    };
    let (width, height) = (image.width(), image.height());
    match image {
        DynamicImage::ImageLumaA8(image) => {
            let pixels: Vec<u8> = composited(image.as_raw(), [background.0[0]]).collect();
            ImageBuffer::<image::Luma<u8>, _>::from_raw(width, height, pixels).expect("all pixels").into()
        }
        DynamicImage::ImageRgba8(image) => {
            let pixels: Vec<u8> = composited(image.as_raw(), background.0).collect();
            ImageBuffer::<image::Rgb<u8>, _>::from_raw(width, height, pixels).expect("all pixels").into()
        }
        image => image,
    }
}

/// Pixels of some channels and alpha over a background: `alpha * pixel + (1 - alpha) * background`, rounded.
pub(super) fn composited<const CHANNELS: usize>(
    pixels: &[u8],
    background: [u8; CHANNELS],
) -> impl Iterator<Item = u8> {
    let over = move |pixel: &[u8]| -> [u8; CHANNELS] {
        let alpha = u32::from(pixel[CHANNELS]);
        std::array::from_fn(|channel| {
            let sum = alpha * u32::from(pixel[channel]) + (255 - alpha) * u32::from(background[channel]);
            ((sum + 127) / 255) as u8
        })
    };
    pixels.chunks_exact(CHANNELS + 1).flat_map(over)
}
