//! Compiling kernels on Mesa's null device, as wgpu would hand them over.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use ash::vk;
use naga::back::{PipelineConstants, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use serde::{Deserialize, Serialize};

use crate::isa::{Loop, hot_loop};
use crate::kernels::Call;

const ENTRY_POINT: &str = "main";

/// What came out of one kernel.
#[derive(Debug, Serialize, Deserialize)]
pub struct Compiled {
    /// [`Call::program`].
    pub program: String,
    pub invocations: u32,
    pub registers: u32,
    pub spilled: u32,
    pub scratch_bytes: u32,
    pub workgroup_bytes: u32,
    /// Subgroups that fit a SIMD unit at once, of 16 on RDNA 2 and 3 in most modes.
    pub subgroups: u32,
    /// The innermost loop with the most multiply-adds, and the one around it.
    pub inner: Option<Loop>,
    pub outer: Option<Loop>,
}

impl Compiled {
    /// Share of multiply-adds in the loop that does `step` of them each time around, what is fetched for them included:
    /// the inner loop repeats within it, or is written out.
    pub fn step_share(&self, step: u32) -> Option<f64> {
        let inner = self.inner?;
        let times = step / inner.multiply_adds.max(1);
        let around = match (times, self.outer) {
            (0 | 1, _) => 0,
            (_, Some(outer)) => outer.instructions - inner.instructions,
            (_, None) => return None,
        };
        Some(
            f64::from(times.max(1) * inner.multiply_adds)
                / f64::from(times.max(1) * inner.instructions + around),
        )
    }

    pub fn is_spilled(&self) -> bool {
        self.spilled > 0 || self.scratch_bytes > 0
    }
}

/// Compiles each distinct kernel and prints a JSON object for it.
pub fn compile_all(folder: &Path, calls: &[Call]) -> Result<()> {
    let device = NullDevice::open()?;
    let mut done = HashSet::new();
    for call in calls.iter().filter(|call| done.insert(call.program())) {
        let compiled = compile(&device, folder, call).with_context(|| call.program())?;
        println!("{}", serde_json::to_string(&compiled)?);
    }
    Ok(())
}

fn compile(device: &NullDevice, folder: &Path, call: &Call) -> Result<Compiled> {
    let source = fs::read_to_string(folder.join(&call.file))?;
    let module =
        naga::front::wgsl::parse_str(&source).map_err(|error| anyhow!(error.emit_to_string(&source)))?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|error| anyhow!(error.emit_to_string(&source)))?;
    let constants: PipelineConstants =
        call.constants.iter().map(|(name, &value)| (name.clone(), value)).collect();
    let stage = Some((naga::ShaderStage::Compute, ENTRY_POINT));
    let (module, info) = process_overrides(&module, &info, stage, &constants)?;
    let bindings = module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
    let program = device.compile(&to_spirv(&module, &info)?, bindings as u32, call.subgroup_size())?;
    let statistic = |name: &str| {
        let found = program.statistics.iter().find(|(known, _)| known == name);
        found.map(|&(_, value)| value as u32).with_context(|| format!("no statistic {name}"))
    };
    let (inner, outer) =
        hot_loop(&program.assembly).map_or((None, None), |(inner, outer)| (Some(inner), outer));
    Ok(Compiled {
        program: call.program(),
        invocations: module.entry_points[0].workgroup_size.iter().product(),
        registers: statistic("VGPRs")?,
        spilled: statistic("Spilled VGPRs")? + statistic("Spilled SGPRs")?,
        scratch_bytes: statistic("Scratch size")?,
        workgroup_bytes: statistic("LDS size")?,
        subgroups: statistic("Subgroups per SIMD")?,
        inner,
        outer,
    })
}

/// As wgpu translates trusted modules.
fn to_spirv(module: &naga::Module, info: &ModuleInfo) -> Result<Vec<u32>> {
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        force_loop_bounding: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: ENTRY_POINT.into() };
    Ok(spv::write_vec(module, info, &options, Some(&pipeline))?)
}

/// A compiled program.
struct Program {
    statistics: Vec<(String, u64)>,
    assembly: String,
}

/// Mesa's AMD driver without a GPU.
struct NullDevice {
    _vulkan: ash::Entry,
    device: ash::Device,
    executables: ash::khr::pipeline_executable_properties::Device,
}

impl NullDevice {
    fn open() -> Result<NullDevice> {
        // SAFETY: the loader and its drivers are trusted libraries; every structure handed over lives for its call.
        unsafe {
            let vulkan = ash::Entry::load().context("no Vulkan loader: install libvulkan1")?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance = vulkan
                .create_instance(&vk::InstanceCreateInfo::default().application_info(&application), None)?;
            let is_null = |gpu: &vk::PhysicalDevice| {
                let properties = instance.get_physical_device_properties(*gpu);
                properties.device_name_as_c_str().is_ok_and(|name| name.to_string_lossy().contains("RADV"))
            };
            let gpu = instance.enumerate_physical_devices()?.into_iter().find(is_null);
            let gpu = gpu.context("no RADV null device: install mesa-vulkan-drivers")?;
            let offered = instance.enumerate_device_extension_properties(gpu)?;
            let matrix_units = vk::KHR_COOPERATIVE_MATRIX_NAME;
            let has_matrix_units =
                offered.iter().any(|extension| extension.extension_name_as_c_str() == Ok(matrix_units));
            let mut extensions = vec![vk::KHR_PIPELINE_EXECUTABLE_PROPERTIES_NAME.as_ptr()];
            extensions.extend(has_matrix_units.then_some(matrix_units.as_ptr()));
            let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                .pipeline_executable_info(true);
            let mut halves = vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(true);
            let mut memory_model = vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(true)
                .vulkan_memory_model(true)
                .vulkan_memory_model_device_scope(true);
            let mut maintenance =
                vk::PhysicalDeviceVulkan13Features::default().maintenance4(true).subgroup_size_control(true);
            let mut matrices =
                vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
            let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let mut create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&extensions)
                .push_next(&mut executable)
                .push_next(&mut halves)
                .push_next(&mut memory_model)
                .push_next(&mut maintenance);
            if has_matrix_units {
                create = create.push_next(&mut matrices);
            }
            let device = instance.create_device(gpu, &create, None)?;
            let executables = ash::khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(NullDevice { _vulkan: vulkan, device, executables })
        }
    }

    /// Compiles `code`, which binds `bindings` storage buffers, for subgroups of this size, or of any.
    fn compile(&self, code: &[u32], bindings: u32, subgroup_size: Option<u32>) -> Result<Program> {
        let slots: Vec<_> = (0..bindings)
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_count(1)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let device = &self.device;
        let entry_point = CString::new(ENTRY_POINT)?;
        // SAFETY: naga has validated the module; every handle is made here and destroyed after its last use.
        unsafe {
            let set = device.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&slots),
                None,
            )?;
            let sets = [set];
            let layout = device
                .create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
            let module =
                device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(code), None)?;
            let mut stage = vk::PipelineShaderStageCreateInfo::default()
                .module(module)
                .name(&entry_point)
                .stage(vk::ShaderStageFlags::COMPUTE);
            let mut required = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default();
            if let Some(size) = subgroup_size {
                required.required_subgroup_size = size;
                stage = stage.push_next(&mut required);
            }
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let create = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(flags)];
            let pipeline = device
                .create_compute_pipelines(vk::PipelineCache::null(), &create, None)
                .map_err(|(_, error)| error)?[0];
            let program =
                Program { statistics: self.statistics(pipeline)?, assembly: self.assembly(pipeline)? };
            device.destroy_pipeline(pipeline, None);
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            Ok(program)
        }
    }

    /// # Safety
    /// `pipeline` is one of this device's.
    unsafe fn statistics(&self, pipeline: vk::Pipeline) -> Result<Vec<(String, u64)>> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline was made with its statistics; AMD's driver keeps all of them as u64.
        unsafe {
            let found = self.executables.get_pipeline_executable_statistics(&info)?;
            found.iter().map(|found| Ok((text(found.name_as_c_str()?), found.value.u64))).collect()
        }
    }

    /// # Safety
    /// `pipeline` is one of this device's.
    unsafe fn assembly(&self, pipeline: vk::Pipeline) -> Result<String> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        let get = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let device = self.executables.device();
        let mut count = 0;
        // SAFETY: asked three times, for the number, the lengths and the texts, each into memory of that size.
        let (found, texts) = unsafe {
            get(device, &info, &mut count, std::ptr::null_mut()).result()?;
            let mut found = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            get(device, &info, &mut count, found.as_mut_ptr()).result()?;
            let mut texts: Vec<Vec<u8>> = found.iter().map(|found| vec![0; found.data_size]).collect();
            for (found, text) in found.iter_mut().zip(&mut texts) {
                found.p_data = text.as_mut_ptr().cast();
            }
            get(device, &info, &mut count, found.as_mut_ptr()).result()?;
            (found, texts)
        };
        let position = found.iter().position(|found| {
            found.name_as_c_str().is_ok_and(|name| name.to_string_lossy().contains("ssembly"))
        });
        let position = position.context("the driver shows no machine code")?;
        Ok(String::from_utf8_lossy(&texts[position]).into_owned())
    }
}

fn text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}
