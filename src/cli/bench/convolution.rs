//! The flags that describe one convolution.

use clap::Args;
use wgconv::bench::{ConvCase, ConvSizes};
use wgconv::{Error, Result};

/// One convolution; the short names are MIOpenDriver's.
#[derive(Args)]
#[command(next_help_heading = "One convolution")]
pub struct Convolution {
    /// N: number of images
    #[arg(short = 'n', long, value_name = "N")]
    batch_size: Option<usize>,
    /// C: number of input channels
    #[arg(short = 'c', long, value_name = "C")]
    in_channels: Option<usize>,
    /// H: height of the input
    #[arg(short = 'H', long, value_name = "H")]
    in_height: Option<usize>,
    /// W: width of the input
    #[arg(short = 'W', long, value_name = "W")]
    in_width: Option<usize>,
    /// K: number of output channels
    #[arg(short = 'k', long, value_name = "K")]
    out_channels: Option<usize>,
    /// R: height of a filter
    #[arg(short = 'y', long, value_name = "R")]
    kernel_height: Option<usize>,
    /// S: width of a filter
    #[arg(short = 'x', long, value_name = "S")]
    kernel_width: Option<usize>,
    /// Rows of zeros above and below the input [default: 0]
    #[arg(short = 'p', long, value_name = "ROWS")]
    padding_height: Option<usize>,
    /// Columns of zeros to the left and right of the input [default: 0]
    #[arg(short = 'q', long, value_name = "COLUMNS")]
    padding_width: Option<usize>,
    /// Vertical stride [default: 1]
    #[arg(short = 'u', long, value_name = "ROWS")]
    stride_height: Option<usize>,
    /// Horizontal stride [default: 1]
    #[arg(short = 'v', long, value_name = "COLUMNS")]
    stride_width: Option<usize>,
    /// Vertical dilation; 1 means none [default: 1]
    #[arg(short = 'l', long, value_name = "ROWS")]
    dilation_height: Option<usize>,
    /// Horizontal dilation; 1 means none [default: 1]
    #[arg(short = 'j', long, value_name = "COLUMNS")]
    dilation_width: Option<usize>,
    /// Number of groups that the channels are divided into [default: 1]
    #[arg(short = 'g', long, value_name = "GROUPS")]
    groups: Option<usize>,
}

impl Convolution {
    /// The convolution that the flags describe; `None` if there are no flags.
    pub fn case(&self) -> Result<Option<ConvCase>> {
        let required = [
            ("--batch-size", self.batch_size),
            ("--in-channels", self.in_channels),
            ("--in-height", self.in_height),
            ("--in-width", self.in_width),
            ("--out-channels", self.out_channels),
            ("--kernel-height", self.kernel_height),
            ("--kernel-width", self.kernel_width),
        ];
        let optional = [
            self.padding_height,
            self.padding_width,
            self.stride_height,
            self.stride_width,
            self.dilation_height,
            self.dilation_width,
            self.groups,
        ];
        let mut given = required.iter().map(|(_, size)| size).chain(&optional);
        if given.all(Option::is_none) {
            return Ok(None);
        }
        let missing: Vec<&str> =
            required.iter().filter(|(_, size)| size.is_none()).map(|&(name, _)| name).collect();
        if !missing.is_empty() {
            let expected = "all sizes of the input and the filters";
            return Err(Error::invalid("one convolution", expected, format!("no {}", missing.join(", "))));
        }
        let [batch_size, in_channels, in_height, in_width, out_channels, kernel_height, kernel_width] =
            required.map(|(_, size)| size.expect("none is missing"));
        let sizes = ConvSizes {
            batch_size,
            in_channels,
            in_height,
            in_width,
            out_channels,
            kernel_height,
            kernel_width,
            padding_height: self.padding_height.unwrap_or(0),
            padding_width: self.padding_width.unwrap_or(0),
            stride_height: self.stride_height.unwrap_or(1),
            stride_width: self.stride_width.unwrap_or(1),
            dilation_height: self.dilation_height.unwrap_or(1),
            dilation_width: self.dilation_width.unwrap_or(1),
            groups: self.groups.unwrap_or(1),
        };
        ConvCase::new(sizes).map(Some)
    }
}
