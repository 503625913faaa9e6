//! Plans in which convolutions leave the winners of the max-pools behind them: which steps there are, and what they bind.

use wgconv::layers::Conv2d;
use wgconv::network::{Network, NetworkBuilder, presets};
use wgconv::ops::activation::Activation;
use wgconv::ops::optimizer::UpdateOptions;
use wgconv::plan::{DataParts, LossOptions, Plan, Prologues, Step, TrainOptions, predict_plan, train_plan};
use wgconv::tensor::ImageShape;

const IMAGE: ImageShape = ImageShape { height: 13, width: 12, channels: 1 };

fn training(network: &Network) -> Plan {
    let data = DataParts { name: "train", image: IMAGE, classes: 10, rows: vec![16] };
    let (loss, update) = (LossOptions::default(), UpdateOptions::default());
    let options = TrainOptions { batch_size: 4, steps: 4, data, loss, update, augment: None };
    train_plan(network, &options).unwrap().fused(Prologues::WhereTheyPay)
}

fn count(steps: &[Step], name: &str) -> usize {
    steps.iter().filter(|step| step.op.name() == name).count()
}

/// How many convolutions are condensed, and how many pools and their gradients are left.
fn counts(plan: Plan) -> [usize; 3] {
    let plan = plan.condensed();
    plan.assert_valid();
    let condensed = count(&plan.forward, "conv2d.max_pool");
    let unpools = plan.backward.iter().filter(|step| step.op.name().ends_with("unpool")).count();
    assert_eq!(unpools, condensed);
    let forward = count(&plan.forward, "max_pool2d.forward");
    [condensed, forward, count(&plan.backward, "max_pool2d.grad_input")]
}

fn with(pooled: impl FnOnce(NetworkBuilder) -> NetworkBuilder) -> Network {
    let conv = || Conv2d::new(4, [3, 3]).same();
    let builder = Network::builder("test", IMAGE).conv2d(conv()).relu();
    pooled(builder).conv2d(conv()).flatten().dense(10).build().unwrap()
}

#[test]
fn convolutions_leave_the_winners_of_the_pools_behind_them() {
    let network = presets::lenet(IMAGE, 10).unwrap();
    let plan = training(&network).condensed();
    plan.assert_valid();
    let shape = |name: &str| plan.buffer(plan.expect(name)).shape.clone();
    assert_eq!(shape("pool1.output.winners"), shape("pool1.output"));
    let conv = plan.expect("relu1.output");
    assert!(plan.steps().all(|step| !step.operands.contains(&conv)), "nothing else is written");
    let condensed = format!("{plan:?}");
    assert_eq!(format!("{:?}", plan.condensed()), condensed, "once is enough");
    assert_eq!(counts(training(&network)), [2, 0, 0]);
}

#[test]
fn the_gradient_of_a_pools_output_is_not_stored() {
    let gradient = |network: &Network, name: &str, keep: bool| {
        let mut plan = training(network);
        let gradient = plan.expect(name);
        if keep {
            plan.keep(gradient);
        }
        let plan = plan.condensed();
        plan.assert_valid();
        let users = plan.steps().filter(|step| step.operands.contains(&gradient)).count();
        let named = ["max_pool2d.unpool", "conv2d.grad_input_unpool", "dense.grad_input_unpool"];
        (users, named.map(|name| count(&plan.backward, name)))
    };
    let lenet = presets::lenet(IMAGE, 10).unwrap();
    for pool in ["pool1.output.grad", "pool2.output.grad"] {
        assert_eq!(gradient(&lenet, pool, false), (0, [0, 1, 1]));
    }
    assert_eq!(gradient(&lenet, "pool1.output.grad", true), (2, [1, 0, 1]));
    // The gradient of an image that two layers read is a sum.
    let two_readers =
        |builder: NetworkBuilder| builder.max_pool(2).conv2d(Conv2d::new(4, [1, 1])).relu().add("pool1");
    assert_eq!(gradient(&with(two_readers), "pool1.output.grad", false).1, [1, 0, 0]);
}

#[test]
fn what_else_is_needed_is_not_left_out() {
    assert_eq!(counts(training(&with(|builder| builder.max_pool(2)))), [1, 0, 0]);
    // Other windows, and an activation behind the pool whose output is not the pool's.
    assert_eq!(counts(training(&with(|builder| builder.max_pool(3)))), [0, 1, 1]);
    let behind = with(|builder| builder.max_pool(2).activation(Activation::Tanh));
    assert_eq!(counts(training(&behind)), [1, 0, 0]);
    let mut plan = training(&with(|builder| builder.max_pool(2)));
    plan.keep(plan.expect("relu1.output"));
    assert_eq!(counts(plan), [0, 1, 1]);
    // A pool of the images has no gradient, and a prediction none at all.
    let first = Network::builder("test", IMAGE).max_pool(2).flatten().dense(10).build().unwrap();
    assert_eq!(counts(training(&first)), [0, 1, 0]);
    let prediction = predict_plan(&presets::lenet(IMAGE, 10).unwrap(), 3).unwrap();
    assert_eq!(counts(prediction.fused(Prologues::WhereTheyPay)), [0, 2, 0]);
}
