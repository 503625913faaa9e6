//! The GPUs of this machine, and the choice between them.

use super::multiprocessors::multiprocessors;
use crate::device::{DeviceKind, DeviceProfile, MatrixUnits};
use crate::{Error, Result};

/// A GPU, or a program that emulates one, found through a driver.
#[derive(Clone, Debug)]
pub struct Adapter {
    pub(super) adapter: wgpu::Adapter,
    profile: DeviceProfile,
}

/// Every adapter of this machine: discrete GPUs first, software rasterisers last. Empty without a driver.
///
/// wgpu's own variables WGPU_BACKEND and WGPU_ADAPTER_NAME narrow the list.
///
/// On Linux without a desktop session, Mesa's Vulkan layer may write `error: XDG_RUNTIME_DIR is invalid or not set` to
/// stderr, although nothing is wrong. `wgconv`, the program, turns the layer off; another program that wants it silent
/// is started with `NODEVICE_SELECT=1` in its environment.
pub fn adapters() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let wanted = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_default().to_lowercase();
    let mut adapters: Vec<Adapter> = found
        .into_iter()
        .map(Adapter::new)
        .filter(|adapter| adapter.profile.name.to_lowercase().contains(&wanted))
        .collect();
    adapters.sort_by_key(|adapter| match adapter.profile.kind {
        DeviceKind::DiscreteGpu => 0,
        DeviceKind::IntegratedGpu => 1,
        DeviceKind::VirtualGpu => 2,
        DeviceKind::Other => 3,
        DeviceKind::Software => 4,
    });
    adapters
}

/// What to install if no adapter, or only a software rasteriser, is found.
pub fn install_advice() -> &'static str {
    if cfg!(target_os = "windows") {
        "install your GPU maker's driver (it brings DirectX 12 and Vulkan)"
    } else if cfg!(target_os = "macos") {
        "Metal comes with macOS 10.13 and later on any Mac with a GPU"
    } else {
        "install a Vulkan driver: NVIDIA's own driver (nvidia-driver) for NVIDIA, mesa-vulkan-drivers for AMD and \
         Intel (it also brings lavapipe, a software rasteriser); `vulkaninfo --summary` from vulkan-tools lists them"
    }
}

/// wgpu's name for matrix units.
const MATRIX_UNITS: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// The matrix units of an adapter that kernels can use: they must know the size of every subgroup.
fn matrix_units(adapter: &wgpu::Adapter) -> Option<MatrixUnits> {
    let needed = MATRIX_UNITS | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let info = adapter.get_info();
    if !adapter.features().contains(needed) || info.subgroup_min_size != info.subgroup_max_size {
        return None;
    }
    let offered = adapter.cooperative_matrix_properties();
    let lines = [16, 8].into_iter().find(|&lines| {
        offered.iter().any(|matrices| {
            [matrices.m_size, matrices.n_size, matrices.k_size] == [lines; 3]
                && matrices.ab_type == wgpu::CooperativeScalarType::F16
                && matrices.cr_type == wgpu::CooperativeScalarType::F32
        })
    })?;
    Some(MatrixUnits { lines, lanes: info.subgroup_min_size, emulated: false })
}

impl Adapter {
    fn new(adapter: wgpu::Adapter) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceKind::DiscreteGpu,
            wgpu::DeviceType::IntegratedGpu => DeviceKind::IntegratedGpu,
            wgpu::DeviceType::VirtualGpu => DeviceKind::VirtualGpu,
            wgpu::DeviceType::Cpu => DeviceKind::Software,
            wgpu::DeviceType::Other => DeviceKind::Other,
        };
        // LP_MAX_TGSI_LOOP_ITERATIONS of Mesa's rasteriser; shorter loops work on other software rasterisers too.
        const MESA_LOOP_TRIPS: u32 = 65_535;
        let profile = DeviceProfile {
            max_loop_trips: (kind == DeviceKind::Software).then_some(MESA_LOOP_TRIPS),
            multiprocessors: multiprocessors(&info.name, kind),
            name: info.name,
            kind,
            min_subgroup_size: match adapter.features().contains(wgpu::Features::SUBGROUP) {
                true => info.subgroup_min_size,
                false => 0,
            },
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            matrix_units: matrix_units(&adapter),
        };
        Adapter { adapter, profile }
    }

    /// The properties by which operations choose their kernels; those of an executor may leave out the matrix units.
    pub fn profile(&self) -> &DeviceProfile {
        &self.profile
    }

    /// `vulkan`, `metal` or `dx12`.
    pub fn backend(&self) -> String {
        self.adapter.get_info().backend.to_string()
    }

    /// Name and version of the driver.
    pub fn driver(&self) -> String {
        let info = self.adapter.get_info();
        format!("{} {}", info.driver, info.driver_info).trim().to_string()
    }

    /// Names of the optional features that wgconv can use, and whether the adapter has them.
    pub fn features(&self) -> Vec<(&'static str, bool)> {
        let features = self.adapter.features();
        [
            ("timestamps", wgpu::Features::TIMESTAMP_QUERY),
            ("subgroups", wgpu::Features::SUBGROUP),
            ("f16", wgpu::Features::SHADER_F16),
            ("pipeline cache", wgpu::Features::PIPELINE_CACHE),
            ("cooperative matrices", MATRIX_UNITS),
        ]
        .map(|(name, feature)| (name, features.contains(feature)))
        .to_vec()
    }

    /// The file name under which compiled kernels of this adapter are kept; `None` if its driver does not support
    /// that.
    pub(super) fn pipeline_cache_name(&self) -> Option<String> {
        let has_caches = self.adapter.features().contains(wgpu::Features::PIPELINE_CACHE);
        wgpu::util::pipeline_cache_key(&self.adapter.get_info()).filter(|_| has_caches)
    }

    /// Opens a device on this adapter, with all of the adapter's limits and those of its features that wgconv can
    /// use; matrix units only if they are wanted.
    pub(super) fn open(&self, matrix_units: bool) -> Result<(wgpu::Device, wgpu::Queue)> {
        let experimental = if matrix_units { MATRIX_UNITS } else { wgpu::Features::empty() };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgconv"),
            required_features: self.adapter.features()
                & (wgpu::Features::TIMESTAMP_QUERY
                    | wgpu::Features::PIPELINE_CACHE
                    | wgpu::Features::SUBGROUP
                    | wgpu::Features::SHADER_F16
                    | experimental),
            experimental_features: match matrix_units {
                // SAFETY: wgpu's cooperative matrices are experimental, and may hold bugs. Kernels use them only where tuning is
                // asked for, and run for a plan only after they have given the right answers on the device.
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            required_limits: self.adapter.limits(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        pollster::block_on(self.adapter.request_device(&descriptor)).map_err(|error| Error::Device {
            device: self.profile.name.clone(),
            operation: "opening the device".into(),
            cause: error.to_string(),
        })
    }
}
