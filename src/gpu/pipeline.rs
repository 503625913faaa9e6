//! Compiling kernel calls to pipelines, each once, on all cores.

use std::collections::HashMap;

use rayon::prelude::*;

use super::pipeline_cache::PipelineCache;
use crate::ops::kernel::{Constant, ENTRY_POINT, Implementation, KernelCall};

/// Whether kernels check their indices and bound their loops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShaderChecks {
    /// They do, as in a browser: slower, and safe with any kernel. Memory that has not been written holds NaN.
    On,
    /// They do not, as trusted code: the kernels of this crate are tested with the checks on and off.
    #[default]
    Off,
}

/// Compiled pipelines, by source and constants.
#[derive(Debug)]
pub struct Pipelines {
    checks: ShaderChecks,
    compiled: HashMap<PipelineKey, wgpu::ComputePipeline>,
    cache: Option<PipelineCache>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PipelineKey {
    source: String,
    // The bits of the values, since floats do not implement `Eq`.
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
    /// An empty collection.
    pub fn new(checks: ShaderChecks) -> Self {
        Pipelines { checks, compiled: HashMap::new(), cache: None }
    }

    /// Loads compiled kernels from `cache`, and stores new ones there.
    pub fn set_cache(&mut self, cache: Option<PipelineCache>) {
        self.cache = cache;
    }

    /// Drops all pipelines; from now on, compiles with these `checks`.
    pub fn restart(&mut self, checks: ShaderChecks) {
        self.checks = checks;
        self.compiled.clear();
    }

    /// Whether kernels check their indices.
    pub fn checks(&self) -> ShaderChecks {
        self.checks
    }

    /// Compiles the kernels of `implementations` that are not compiled yet, and tells for each implementation whether
    /// it can run.
    ///
    /// # Errors
    /// The driver's message about the first kernel of an implementation that it refuses.
    pub fn compile(
        &mut self,
        device: &wgpu::Device,
        implementations: &[&Implementation],
    ) -> Vec<Result<(), String>> {
        let mut missing: HashMap<PipelineKey, &KernelCall> = HashMap::new();
        for call in implementations.iter().flat_map(|implementation| &implementation.calls) {
            let key = PipelineKey::new(call);
            if !self.compiled.contains_key(&key) {
                missing.insert(key, call);
            }
        }
        let (checks, cache) = (self.checks, self.cache.as_ref().map(PipelineCache::handle));
        let new: Vec<(PipelineKey, Result<wgpu::ComputePipeline, String>)> = missing
            .into_par_iter()
            .map(|(key, call)| {
                let compiled = compile(device, checks, cache, &key.source, call);
                (key, compiled)
            })
            .collect();
        if !new.is_empty() {
            self.cache.iter_mut().for_each(PipelineCache::note_news);
        }
        let mut refused = HashMap::new();
        for (key, compiled) in new {
            match compiled {
                Ok(pipeline) => drop(self.compiled.insert(key, pipeline)),
                Err(message) => drop(refused.insert(key, message)),
            }
        }
        let can_run = |implementation: &&Implementation| {
            let mut keys = implementation.calls.iter().map(PipelineKey::new);
            keys.find_map(|key| refused.get(&key).cloned()).map_or(Ok(()), Err)
        };
        implementations.iter().map(can_run).collect()
    }

    /// Saves the compiled kernels for the next start of the program, unless that was done a moment ago.
    pub fn save_now_and_then(&mut self) {
        self.cache.iter_mut().for_each(PipelineCache::save_now_and_then);
    }

    /// The pipeline of a call, which must have been compiled.
    pub fn get(&self, call: &KernelCall) -> &wgpu::ComputePipeline {
        &self.compiled[&PipelineKey::new(call)]
    }
}

fn compile(
    device: &wgpu::Device,
    checks: ShaderChecks,
    cache: Option<&wgpu::PipelineCache>,
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
        cache,
    });
    match pollster::block_on(scope.pop()) {
        Some(error) => Err(format!("{}: {error}", call.source.name)),
        None => Ok(pipeline),
    }
}
