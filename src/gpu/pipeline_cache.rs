//! Compiled kernels kept between starts of the program, if the driver supports that.

use std::time::{Duration, Instant};

use flate2::Crc;

use super::context::Context;
use crate::files::CacheFolder;

/// A driver's compiled kernels, and the file that keeps them. No problem with the file is an error: kernels are then
/// compiled again.
#[derive(Debug)]
pub struct PipelineCache {
    cache: wgpu::PipelineCache,
    folder: CacheFolder,
    name: String,
    /// Checksum of the file's content.
    kept: Option<u32>,
    has_news: bool,
    saved: Option<Instant>,
}

/// A longer file is neither read nor written.
const LONGEST_FILE: u64 = 64 << 20;

/// Minimum time between saves, so that a command that prepares many plans does not save after each.
const BETWEEN_SAVES: Duration = Duration::from_secs(10);

impl PipelineCache {
    /// The kernels that `folder` keeps under `name`; `None` if the driver does not support that.
    pub fn open(context: &Context, folder: CacheFolder, name: String) -> Option<Self> {
        if !context.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = folder.read(&name, LONGEST_FILE);
        let data = file.as_deref().and_then(content);
        let scope = context.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("wgconv"), data, fallback: true };
        // SAFETY: the data are what this driver returned for a file, unchanged according to the checksum; wgpu and
        // the driver discard data from another version of either or from another device.
        let cache = unsafe { context.device.create_pipeline_cache(&descriptor) };
        let kept = data.map(check_sum);
        match pollster::block_on(scope.pop()) {
            Some(_) => None,
            None => Some(PipelineCache { cache, folder, name, kept, has_news: false, saved: None }),
        }
    }

    pub fn handle(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Records that kernels were compiled.
    pub fn note_news(&mut self) {
        self.has_news = true;
    }

    /// Saves new kernels, unless that was done a moment ago.
    pub fn save_now_and_then(&mut self) {
        if self.saved.is_none_or(|saved| saved.elapsed() >= BETWEEN_SAVES) {
            self.save();
        }
    }

    fn save(&mut self) {
        if !std::mem::take(&mut self.has_news) {
            return;
        }
        self.saved = Some(Instant::now());
        let Some(data) = self.cache.get_data() else { return };
        let sum = check_sum(&data);
        if self.kept == Some(sum) {
            return;
        }
        // Without the file, the next start compiles again, as this one did.
        let _ = match data.len() as u64 {
            length if length + 4 > LONGEST_FILE => self.folder.remove(&self.name),
            _ => self.folder.write(&self.name, &with_check_sum(data)),
        };
        self.kept = Some(sum);
    }
}

impl Drop for PipelineCache {
    fn drop(&mut self) {
        self.save();
    }
}

// A driver trusts the data that it is given, so a damaged file must not reach it.
fn check_sum(data: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(data);
    crc.sum()
}

fn with_check_sum(mut data: Vec<u8>) -> Vec<u8> {
    let sum = check_sum(&data);
    data.extend(sum.to_le_bytes());
    data
}

/// The part of a file before the checksum at its end; `None` if the checksum does not match.
fn content(file: &[u8]) -> Option<&[u8]> {
    let (data, sum) = file.split_last_chunk()?;
    (u32::from_le_bytes(*sum) == check_sum(data)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_has_no_content() {
        let file = with_check_sum(b"compiled kernels".to_vec());
        assert_eq!(content(&file), Some(&b"compiled kernels"[..]));
        for length in 0..file.len() {
            assert_eq!(content(&file[..length]), None, "cut to {length} bytes");
        }
        for byte in 0..file.len() {
            let mut damaged = file.clone();
            damaged[byte] ^= 4;
            assert_eq!(content(&damaged), None, "byte {byte}");
        }
        assert_eq!(content(&with_check_sum(Vec::new())), Some(&[][..]));
    }
}
