//! `wgconv conv`: one convolution of a file's tensors, for checking against another framework.

use std::path::{Path, PathBuf};

use clap::Args;
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::json;
use wgconv::convolution::{check, forward, grad_bias, grad_filters, grad_input};
use wgconv::executors::Opened;
use wgconv::files::check_writable;
use wgconv::ops::conv::ConvGeometry;
use wgconv::ops::window::{Padding, WindowOptions};
use wgconv::report::short_name;
use wgconv::tensor::{ImageShape, Shape, Tensor};
use wgconv::train::{read_safetensors, save_tensors};
use wgconv::{Error, Result, host_memory};

use super::Outcome;
use super::options::{DeviceOptions, OutputOptions};

/// Compute one convolution and its gradients, to compare with another framework
///
/// The file holds `input` [N,C,H,W], `filters` [K,C/groups,R,S], optionally `bias` [K] and `grad_output`
/// [N,K,P,Q], all f32, and nothing else. The answer holds `output` and, with grad_output, `grad_filters`, `grad_input` and
/// `grad_bias`, in the same layouts.
#[derive(Args)]
pub struct Conv {
    /// The file with the tensors
    #[arg(value_name = "CASE.safetensors")]
    case: PathBuf,
    /// The file to write
    #[arg(long, value_name = "OUT.safetensors")]
    out: PathBuf,
    /// One number, or height,width
    #[arg(long, default_value = "1")]
    stride: String,
    /// One number, height,width, top,bottom,left,right, `same` or `valid`
    #[arg(long, default_value = "0")]
    padding: String,
    /// One number, or height,width; 1 means none
    #[arg(long, default_value = "1")]
    dilation: String,
    /// Number of groups that the channels are divided into
    #[arg(long, default_value_t = 1)]
    groups: usize,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    output: OutputOptions,
}

// Orders of axes that convert between PyTorch's layouts and the internal ones: NCHW and NHWC, KCRS and KRSC.
const CHANNELS_LAST: [usize; 4] = [0, 2, 3, 1];
const CHANNELS_SECOND: [usize; 4] = [0, 3, 1, 2];

impl Conv {
    pub fn run(self) -> Result<Outcome> {
        self.device.start_threads()?;
        let case = Case::read(&self.case)?;
        let geometry = self.geometry(&case)?;
        check_writable(&self.out)?;
        let output = self.output.beside("--out", &self.out)?;
        let Opened { mut executor, reason } = self.device.open()?;
        output.say(format_args!("device: {reason}"))?;
        let executor = executor.as_mut();
        check(executor, &geometry, case.grad_output.is_some())?;

        let input = case.input.permuted(&CHANNELS_LAST)?;
        let filters = case.filters.permuted(&CHANNELS_LAST)?;
        let mut answers =
            vec![("output", forward(executor, &geometry, &input, &filters, case.bias.as_ref())?)];
        if let Some(grad_output) = &case.grad_output {
            let grad_output = grad_output.permuted(&CHANNELS_LAST)?;
            answers.push(("grad_filters", grad_filters(executor, &geometry, &input, &grad_output)?));
            answers.push(("grad_input", grad_input(executor, &geometry, &filters, &grad_output)?));
            answers.push(("grad_bias", grad_bias(executor, &geometry, &grad_output)?));
        }
        let in_their_layout = |(name, tensor): (&str, Tensor)| match tensor.shape().sizes().len() {
            4 => Ok((name.into(), tensor.permuted(&CHANNELS_SECOND)?)),
            _ => Ok((name.into(), tensor)),
        };
        let answers: Vec<(String, Tensor)> =
            answers.into_iter().map(in_their_layout).collect::<Result<_>>()?;
        for (name, tensor) in &answers {
            output.say(format_args!("{name} {}", tensor.shape()))?;
            output.json(&json!({ "tensor": name, "shape": tensor.shape().sizes() }))?;
        }
        save_tensors(&self.out, answers.iter().map(|(name, tensor)| (name.as_str(), tensor)), &[])?;
        output.say(format_args!("written to {}", self.out.display()))?;
        Ok(Outcome::Done)
    }

    fn geometry(&self, case: &Case) -> Result<ConvGeometry> {
        let [batch_size, channels, height, width] = sizes(&case.input);
        let [out_channels, group_channels, kernel_height, kernel_width] = sizes(&case.filters);
        let window = WindowOptions {
            kernel_size: [kernel_height, kernel_width],
            stride: pair("--stride", &self.stride)?,
            dilation: pair("--dilation", &self.dilation)?,
            padding: padding(&self.padding)?,
        };
        let image = ImageShape { height, width, channels };
        let geometry = ConvGeometry::new(batch_size, image, out_channels, self.groups, &window)?;
        if geometry.group_in_channels() != group_channels {
            let expected = format!(
                "[K, {}, R, S] for {channels} channels in {} groups",
                geometry.group_in_channels(),
                self.groups
            );
            return Err(Error::invalid("filters", expected, case.filters.shape()));
        }
        if let Some(bias) = case.bias.as_ref().filter(|bias| bias.shape().sizes() != [out_channels]) {
            return Err(Error::invalid("bias", format!("[{out_channels}]"), bias.shape()));
        }
        let output = [batch_size, out_channels, geometry.height.output, geometry.width.output];
        if let Some(grad) = case.grad_output.as_ref().filter(|grad| grad.shape().sizes() != output) {
            return Err(Error::invalid("grad_output", Shape::from(output).to_string(), grad.shape()));
        }
        Ok(geometry)
    }
}

fn sizes(tensor: &Tensor) -> [usize; 4] {
    tensor.shape().sizes().try_into().expect("checked when the file was read")
}

/// The tensors of a file, in the file's layouts.
struct Case {
    input: Tensor,
    filters: Tensor,
    bias: Option<Tensor>,
    grad_output: Option<Tensor>,
}

impl Case {
    const TENSORS: [&str; 4] = ["input", "filters", "bias", "grad_output"];

    fn read(path: &Path) -> Result<Case> {
        // The file and its tensors are in memory at the same time.
        let most = host_memory::available().map_or(u64::MAX, |bytes| bytes / 2);
        let bytes =
            read_safetensors(path, most, &format!("tensors of at most {most} bytes, half of what is left"))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|error| Error::file(path, "a safetensors file", error))?;
        let mut unknown: Vec<&str> =
            file.names().into_iter().filter(|name| !Self::TENSORS.contains(name)).collect();
        if !unknown.is_empty() {
            unknown.sort_unstable();
            let found: Vec<String> = unknown.into_iter().map(Self::described).collect();
            let expected = format!("no tensors but {}", Self::TENSORS.join(", "));
            return Err(Error::file(path, expected, found.join("; ")));
        }
        let optional = |name: &str, axes: usize| -> Result<Option<Tensor>> {
            let Ok(view) = file.tensor(name) else { return Ok(None) };
            if view.dtype() != Dtype::F32 || view.shape().len() != axes {
                let expected = format!("{name} of f32 with {axes} axes");
                return Err(Error::file(path, expected, format!("{:?} {:?}", view.dtype(), view.shape())));
            }
            let values = bytemuck::pod_collect_to_vec(view.data());
            Ok(Some(Tensor::new(Shape::checked(name, view.shape())?, values)?))
        };
        let required = |name: &str| {
            let found = || format!("the tensors [{}]", file.names().join(", "));
            optional(name, 4)?.ok_or_else(|| Error::file(path, format!("a tensor {name}"), found()))
        };
        Ok(Case {
            input: required("input")?,
            filters: required("filters")?,
            bias: optional("bias", 1)?,
            grad_output: optional("grad_output", 4)?,
        })
    }
}

impl Case {
    /// The name of an unknown tensor, with the known one that it may stand for.
    fn described(unknown: &str) -> String {
        let likeness = |known: &&str| strsim::jaro(known, unknown);
        let likely = Self::TENSORS.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let likely = likely.filter(|known| likeness(known) > LIKELY);
        let question = likely.map_or(String::new(), |known| format!(": did you mean {known}?"));
        format!("{}{question}", short_name(unknown))
    }
}

/// From this likeness on, of 1 at most, one name is taken for a slip of another: clap's own measure for options.
const LIKELY: f64 = 0.7;

fn numbers(text: &str) -> Option<Vec<usize>> {
    text.split(',').map(|number| number.trim().parse().ok()).collect()
}

fn pair(option: &str, text: &str) -> Result<[usize; 2]> {
    match numbers(text).as_deref() {
        Some(&[both]) => Ok([both; 2]),
        Some(&[height, width]) => Ok([height, width]),
        _ => Err(Error::invalid(option, "a number, or height,width", text)),
    }
}

fn padding(text: &str) -> Result<Padding> {
    match numbers(text).as_deref() {
        None if text == "same" => Ok(Padding::Same),
        None if text == "valid" => Ok(Padding::Valid),
        Some(&[all]) => Ok(Padding::Symmetric([all; 2])),
        Some(&[height, width]) => Ok(Padding::Symmetric([height, width])),
        Some(&[top, bottom, left, right]) => Ok(Padding::Sides { top, bottom, left, right }),
        _ => Err(Error::invalid(
            "--padding",
            "a number, height,width, top,bottom,left,right, same or valid",
            text,
        )),
    }
}
