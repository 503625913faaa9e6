//! A network under the lens: runs images through it with every value in sight, on the CPU.

use std::sync::Arc;

use crate::Result;
use crate::data::{Dataset, Normalisation};
use crate::host::CpuExecutor;
use crate::network::{Layer, LayerInput, Network, Weights};
use crate::ops::HostBuffer;
use crate::plan::{
    BufferId, DataParts, EvaluateOptions, Executor, ExplainPlan, Plan, Prepared, Question, explain_plan,
};
use crate::tensor::ImageShape;

/// A network with some images.
pub struct Lens {
    executor: CpuExecutor,
    plan: Arc<Plan>,
    prepared: Prepared,
    image: BufferId,
    outputs: Vec<BufferId>,
    gradients: Vec<BufferId>,
    image_gradient: Option<BufferId>,
    network: Network,
    images: usize,
    batch_size: usize,
}

impl Lens {
    /// Prepares a network to be looked into with the images of `data`, `batch_size` at a time; with a question, there are
    /// gradients too.
    ///
    /// # Errors
    /// Those of [`explain_plan`]; [`Error::Memory`](crate::Error::Memory) when there is too little memory.
    pub fn new(
        network: &Network,
        data: &Dataset,
        normalisation: &Normalisation,
        batch_size: usize,
        question: Option<Question>,
    ) -> Result<Lens> {
        let images = data.len();
        let batch_size = batch_size.min(images).max(1);
        let steps = images.div_ceil(batch_size);
        let parts =
            DataParts { name: "shown", image: data.image, classes: data.classes.len(), rows: vec![images] };
        let options = EvaluateOptions { batch_size, steps, data: parts, augment: None };
        let ExplainPlan { plan, image, outputs, gradients, image_gradient } =
            explain_plan(network, &options, question)?;
        let plan = Arc::new(plan);
        let mut executor = CpuExecutor::new();
        let prepared = executor.prepare(plan.clone())?;
        let network = network.clone();
        let mut lens = Lens {
            executor,
            plan,
            prepared,
            image,
            outputs,
            gradients,
            image_gradient,
            network,
            images,
            batch_size,
        };
        lens.write("shown/images.0", HostBuffer::shared_bytes(data.images.clone()))?;
        lens.write("shown/labels.0", HostBuffer::index(data.labels.clone()))?;
        lens.write("normalisation", HostBuffer::real(normalisation.scale_and_shift().concat()))?;
        // The last batch is filled up with the first images.
        let order = (0..images as u32).cycle().take(steps * batch_size).collect();
        lens.write("shown/order", HostBuffer::index(order))?;
        Ok(lens)
    }

    /// The bytes of memory that [`Lens::new`] takes.
    ///
    /// # Errors
    /// Those of [`explain_plan`].
    pub fn bytes(
        network: &Network,
        image: ImageShape,
        classes: usize,
        batch_size: usize,
        question: Option<Question>,
    ) -> Result<u64> {
        let parts = DataParts { name: "shown", image, classes, rows: vec![batch_size] };
        let options = EvaluateOptions { batch_size, steps: 1, data: parts, augment: None };
        let plan = explain_plan(network, &options, question)?.plan;
        Ok(CpuExecutor::new().host_bytes(&[&plan]))
    }

    /// Writes a buffer of the plan, which must have it.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for content of another size.
    pub fn write(&mut self, name: &str, content: HostBuffer<f32>) -> Result<()> {
        self.executor.write(self.prepared, self.plan.expect(name), &content)
    }

    /// The plan, and the executor that runs it.
    pub fn parts(&self) -> (&Plan, Prepared, &CpuExecutor) {
        (&self.plan, self.prepared, &self.executor)
    }

    /// What the network made of the image at this place of the batch that was run last.
    pub fn sight(&self, place: usize) -> Sight<'_> {
        Sight { lens: self, place }
    }

    /// Looks at the network with these weights from now on.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) for weights that are not the network's.
    pub fn set_weights(&mut self, weights: &Weights) -> Result<()> {
        for variable in self.network.variables() {
            let values = HostBuffer::real(weights.values(variable)?);
            self.executor.write(self.prepared, self.plan.expect(&variable.name), &values)?;
        }
        Ok(())
    }

    /// Runs all images, and calls `look` for each with its number.
    ///
    /// # Errors
    /// Those of running a plan, and of `look`.
    pub fn run(&mut self, mut look: impl FnMut(usize, &Sight<'_>) -> Result<()>) -> Result<()> {
        self.write("shown/step", HostBuffer::index(vec![0]))?;
        for first in (0..self.images).step_by(self.batch_size) {
            self.executor.run(self.prepared, 1)?;
            for place in 0..self.batch_size.min(self.images - first) {
                look(first + place, &self.sight(place))?;
            }
        }
        Ok(())
    }

    /// As [`Lens::run`], with the gradients of the logit of one class for each image.
    ///
    /// # Panics
    /// When the lens was not prepared for it, or there is not one class for each image.
    pub fn run_for(
        &mut self,
        classes: &[usize],
        mut look: impl FnMut(usize, &Sight<'_>) -> Result<()>,
    ) -> Result<()> {
        assert_eq!(classes.len(), self.images, "classes to ask for");
        self.write("shown/step", HostBuffer::index(vec![0]))?;
        let of_image = self.network.output().elements();
        for first in (0..self.images).step_by(self.batch_size) {
            let batch = &classes[first..self.images.min(first + self.batch_size)];
            let mut wanted = vec![0.0; self.batch_size * of_image];
            for (wanted, &class) in wanted.chunks_exact_mut(of_image).zip(batch) {
                wanted[class] = 1.0;
            }
            self.write("wanted", HostBuffer::real(wanted))?;
            self.executor.run(self.prepared, 1)?;
            for place in 0..batch.len() {
                look(first + place, &self.sight(place))?;
            }
        }
        Ok(())
    }
}

/// What a network made of one image.
pub struct Sight<'a> {
    lens: &'a Lens,
    place: usize,
}

impl<'a> Sight<'a> {
    /// The image's part of a buffer of the plan, if it has this buffer.
    pub fn named(&self, name: &str) -> Option<&'a [f32]> {
        self.lens.plan.find(name).map(|buffer| self.of(buffer))
    }

    fn of(&self, buffer: BufferId) -> &'a [f32] {
        let values = self.lens.executor.buffer(self.lens.prepared, buffer).reals();
        let size = values.len() / self.lens.batch_size;
        &values[self.place * size..][..size]
    }

    /// What a layer reads.
    pub fn input(&self, input: LayerInput) -> &'a [f32] {
        match input {
            LayerInput::Image => self.of(self.lens.image),
            LayerInput::Layer(number) => self.output(number),
        }
    }

    /// The output of the layer of this number.
    pub fn output(&self, layer: usize) -> &'a [f32] {
        self.of(self.lens.outputs[layer])
    }

    /// The logits.
    pub fn logits(&self) -> &'a [f32] {
        self.output(self.lens.outputs.len() - 1)
    }

    /// The sums of a convolution or dense layer, before its bias is added.
    pub fn sums(&self, layer: usize) -> &'a [f32] {
        // A layer without a bias has no other output.
        let sums = self.named(&format!("{}.sums", self.lens.network.layers()[layer].name));
        sums.unwrap_or_else(|| self.output(layer))
    }

    /// The gradient of the output of the layer of this number.
    pub fn gradient(&self, layer: usize) -> &'a [f32] {
        self.of(self.lens.gradients[layer])
    }

    /// The gradient of the image as the network sees it, normalised.
    ///
    /// # Panics
    /// When the lens was prepared without gradients.
    pub fn image_gradient(&self) -> &'a [f32] {
        self.of(self.lens.image_gradient.expect("a lens that asks"))
    }
}

/// A layer with a weight, and the layers behind it that its values pass one by one: normalisation, sum, activation.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The number of the layer.
    pub layer: usize,
    /// The numbers of those behind it, in order.
    pub followed_by: Vec<usize>,
}

impl Stage {
    /// The number of the layer whose output others read.
    pub fn last(&self) -> usize {
        self.followed_by.last().copied().unwrap_or(self.layer)
    }

    /// The stages of a network.
    pub fn all(network: &Network) -> Vec<Stage> {
        let layers = network.layers();
        let readers = |number: usize| {
            let reads = move |layer: &Layer| layer.inputs.contains(&LayerInput::Layer(number));
            layers.iter().enumerate().filter(move |(_, layer)| reads(layer)).map(|(reader, _)| reader)
        };
        let next = |number: usize| {
            let mut all = readers(number);
            let reader = all.next().filter(|_| all.next().is_none())?;
            let layer = &layers[reader];
            let is_alike = layer.output == layers[number].output && layer.weight().is_none();
            (is_alike && layer.kind.windows(layers[number].output).is_none()).then_some(reader)
        };
        let with_weights = layers.iter().enumerate().filter(|(_, layer)| layer.weight().is_some());
        let stage = |(number, _): (usize, &Layer)| {
            let followed_by = std::iter::successors(next(number), |&number| next(number)).collect();
            Stage { layer: number, followed_by }
        };
        with_weights.map(stage).collect()
    }
}
