//! From kernel calls to compiled pipelines, each compiled once, all cores at work.

use std::collections::HashMap;

use rayon::prelude::*;

use super::executor::ShaderChecks;
use crate::ops::kernel::{Constant, ENTRY_POINT, KernelCall};

/// Compiled pipelines by source and constants.
#[derive(Debug, Default)]
pub struct Pipelines {
    compiled: HashMap<PipelineKey, wgpu::ComputePipeline>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PipelineKey {
    source: String,
    // The values' bits: floats have no equality to rely on.
    constants: Vec<(&'static str, u64)>,
}

fn value(constant: Constant) -> f64 {
    match constant {
        Constant::U32(value) => value.into(),
        Constant::F32(value) => value.into(),
    }
}

impl PipelineKey {
    fn new(call: &KernelCall) -> Self {
        let constants =
            call.constants.iter().map(|&(name, constant)| (name, value(constant).to_bits())).collect();
        PipelineKey { source: call.source.compose(), constants }
    }
}

impl Pipelines {
    /// Compiles what `calls` need and is not there yet.
    ///
    /// # Errors
    /// The driver's message about the first kernel that it refuses.
    pub fn compile(
        &mut self,
        device: &wgpu::Device,
        checks: ShaderChecks,
        calls: &[&KernelCall],
    ) -> Result<(), String> {
        let mut missing: HashMap<PipelineKey, &KernelCall> = HashMap::new();
        for call in calls {
            let key = PipelineKey::new(call);
            if !self.compiled.contains_key(&key) {
                missing.insert(key, call);
            }
        }
        let compiled: Result<Vec<_>, String> = missing
            .into_par_iter()
            .map(|(key, call)| compile(device, checks, &key.source, call).map(|pipeline| (key, pipeline)))
            .collect();
        self.compiled.extend(compiled?);
        Ok(())
    }

    /// The pipeline of a call that was compiled.
    pub fn get(&self, call: &KernelCall) -> &wgpu::ComputePipeline {
        &self.compiled[&PipelineKey::new(call)]
    }
}

fn compile(
    device: &wgpu::Device,
    checks: ShaderChecks,
    source: &str,
    call: &KernelCall,
) -> Result<wgpu::ComputePipeline, String> {
    let label = Some(call.source.name);
    let constants: Vec<(&str, f64)> =
        call.constants.iter().map(|&(name, constant)| (name, value(constant))).collect();
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let descriptor = wgpu::ShaderModuleDescriptor { label, source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = match checks {
        ShaderChecks::On => device.create_shader_module(descriptor),
        // SAFETY: trusted modules must not index out of bounds or loop without end. The test suite runs every
        // kernel of this crate with the checks on and off, over the same cases, and compares the answers.
        ShaderChecks::Off => unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        },
    };
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: None,
        module: &module,
        entry_point: Some(ENTRY_POINT),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &constants,
            zero_initialize_workgroup_memory: checks == ShaderChecks::On,
        },
        cache: None,
    });
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(format!("{}: {error}", call.source.name)),
        None => Ok(pipeline),
    }
}
