//! The models of the program, each in a few lines.

use super::{Builder, DataFacts, Model, ModelError, Scaling, Value};
use crate::loss::Likelihood;
use crate::op::{
    Activation, Add, Conv, Dense, GlobalAveragePool, Latent, MaxPool, Norm, Reshape, Upsample,
};
use crate::suggest::did_you_mean;

/// The names of all models.
pub const NAMES: [&str; 11] = [
    "lenet5",
    "lenet-small",
    "vgg16",
    "vgg7",
    "vgg-tiny",
    "resnet20",
    "resnet18",
    "mobilenet",
    "vae-mlp",
    "vae",
    "vae-colour",
];

/// Numbers of a latent unless something else is asked for.
pub const LATENT: usize = 20;

/// The size of images and the number of classes that a model was made for.
const DIGITS: DataFacts = DataFacts {
    size: [28, 28, 1],
    classes: 10,
};
const CIFAR10: DataFacts = DataFacts {
    size: [32, 32, 3],
    classes: 10,
};

/// A model by its name, for its own images or for others. `mobilenet-0.5` is mobilenet at half of its width.
pub(super) fn by_name(name: &str, facts: Option<&DataFacts>) -> Result<Model, ModelError> {
    let digits = facts.unwrap_or(&DIGITS);
    let colours = facts.unwrap_or(&CIFAR10);
    match name {
        "lenet5" => lenet5_for(digits),
        "lenet-small" => lenet_small_for(digits),
        "vgg16" => vgg16_for(colours),
        "vgg7" => vgg7_for(colours),
        "vgg-tiny" => vgg_tiny_for(colours),
        "resnet20" => resnet20_for(colours),
        "resnet18" => resnet18_for(colours),
        "mobilenet" => mobilenet_for(name, colours, 1.0),
        "vae-mlp" => Ok(vae_mlp()),
        "vae" => Ok(vae()),
        "vae-colour" => Ok(vae_colour()),
        _ => {
            let width = name
                .strip_prefix("mobilenet-")
                .and_then(|width| width.parse::<f64>().ok());
            if let Some(width) = width.filter(|width| (0.05..=4.0).contains(width)) {
                return mobilenet_for(name, colours, width);
            }
            Err(ModelError::Unknown {
                name: name.to_owned(),
                hint: did_you_mean(name, NAMES),
            })
        }
    }
}

/// A model that the tests of this file know to fit its own images.
fn own(model: Result<Model, ModelError>) -> Model {
    model.expect("the models of the program fit their own images")
}

/// LeNet-5 as it is used since Caffe: 20 and 50 feature maps, 500 hidden units (after LeCun et
/// al. 1998).
pub fn lenet5() -> Model {
    own(lenet5_for(&DIGITS))
}

/// A smaller LeNet: 6 and 10 feature maps, two hidden layers of 128.
pub fn lenet_small() -> Model {
    own(lenet_small_for(&DIGITS))
}

/// VGG-16 for 32x32 images: thirteen convolutions with batch normalisation and one dense layer
/// (Simonyan, Zisserman 2015, configuration D, with the head that CIFAR-10 needs).
pub fn vgg16() -> Model {
    own(vgg16_for(&CIFAR10))
}

/// Six convolutions and a dense head of 512, half as wide as the VGG-7 of Ternary Weight Networks
/// (Li et al. 2016).
pub fn vgg7() -> Model {
    own(vgg7_for(&CIFAR10))
}

/// A VGG that a CPU can train in minutes: four convolutions, 8 million multiply-adds an image.
pub fn vgg_tiny() -> Model {
    own(vgg_tiny_for(&CIFAR10))
}

/// The residual network of 20 layers for CIFAR-10 (He et al. 2016, section 4.2), with 1 x 1 convolutions where a
/// shortcut changes its shape.
pub fn resnet20() -> Model {
    own(resnet20_for(&CIFAR10))
}

/// The residual network of 18 layers (He et al. 2016), with a stem of one 3 x 3 convolution for small images.
pub fn resnet18() -> Model {
    own(resnet18_for(&CIFAR10))
}

/// MobileNet (Howard et al. 2017): depthwise separable convolutions, `width` times as many channels as there.
/// Small images are halved less often.
///
/// # Errors
/// [`ModelError`] for a width that leaves no channels, or images that are too small.
pub fn mobilenet(input: [usize; 3], classes: usize, width: f64) -> Result<Model, ModelError> {
    let facts = DataFacts {
        size: input,
        classes,
    };
    mobilenet_for("mobilenet", &facts, width)
}

fn conv_relu(net: &mut Builder, name: &str, conv: Conv) {
    net.then(name, conv);
    net.then("", Activation::RELU);
}

fn dense_relu(net: &mut Builder, name: &str, outputs: usize) {
    net.then(name, Dense::new(outputs));
    net.then("", Activation::RELU);
}

/// A convolution with batch normalisation.
fn conv_norm(net: &mut Builder, name: &str, conv: Conv) -> Value {
    net.then(name, conv.without_bias());
    net.then(format!("{name}_norm"), Norm {})
}

/// 3x3, same size, batch normalisation, ReLU: the brick of VGG.
fn brick(net: &mut Builder, name: &str, outputs: usize) {
    conv_norm(net, name, Conv::new(outputs, 3).padding(1));
    net.then("", Activation::RELU);
}

fn lenet5_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let mut net =
        Builder::new("lenet5", facts.size).summary("digits; LeCun et al. 1998 as used since Caffe");
    conv_relu(&mut net, "conv1", Conv::new(20, 5));
    net.then("", MaxPool::new(2));
    conv_relu(&mut net, "conv2", Conv::new(50, 5));
    net.then("", MaxPool::new(2));
    dense_relu(&mut net, "fc1", 500);
    net.then("fc2", Dense::new(facts.classes));
    net.build()
}

fn lenet_small_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let mut net = Builder::new("lenet-small", facts.size).summary("digits, in seconds on a CPU");
    conv_relu(&mut net, "conv1", Conv::new(6, 5));
    net.then("", MaxPool::new(2));
    conv_relu(&mut net, "conv2", Conv::new(10, 5));
    net.then("", MaxPool::new(2));
    dense_relu(&mut net, "fc1", 128);
    dense_relu(&mut net, "fc2", 128);
    net.then("fc3", Dense::new(facts.classes));
    net.build()
}

fn colours(name: &str, facts: &DataFacts, summary: &str) -> Builder {
    Builder::new(name, facts.size)
        .scaling(Scaling::CIFAR10)
        .summary(summary)
}

fn vgg16_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let mut net = colours(
        "vgg16",
        facts,
        "small photographs; 13 convolutions, for GPUs",
    );
    for (stage, outputs) in [&[64, 64][..], &[128, 128], &[256; 3], &[512; 3], &[512; 3]]
        .iter()
        .enumerate()
    {
        for (place, outputs) in outputs.iter().enumerate() {
            brick(
                &mut net,
                &format!("conv{}_{}", stage + 1, place + 1),
                *outputs,
            );
        }
        net.then("", MaxPool::new(2));
    }
    net.then("fc", Dense::new(facts.classes));
    net.build()
}

fn vgg7_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let mut net = colours("vgg7", facts, "small photographs; 6 convolutions");
    for (stage, outputs) in [64, 128, 256].into_iter().enumerate() {
        for place in 1..=2 {
            brick(&mut net, &format!("conv{}_{place}", stage + 1), outputs);
        }
        net.then("", MaxPool::new(2));
    }
    net.then("fc1", Dense::new(512).without_bias());
    net.then("fc1_norm", Norm {});
    net.then("", Activation::RELU);
    net.then("fc2", Dense::new(facts.classes));
    net.build()
}

fn vgg_tiny_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let mut net = colours("vgg-tiny", facts, "small photographs, in minutes on a CPU");
    brick(&mut net, "conv1", 24);
    net.then("", MaxPool::new(2));
    brick(&mut net, "conv2", 48);
    net.then("", MaxPool::new(2));
    brick(&mut net, "conv3_1", 96);
    brick(&mut net, "conv3_2", 96);
    net.then("", MaxPool::new(2));
    net.then("fc", Dense::new(facts.classes));
    net.build()
}

/// Two 3x3 convolutions beside a shortcut (He et al. 2016, figure 2); the first one has the stride.
fn residual_block(net: &mut Builder, name: &str, outputs: usize, stride: usize, project: bool) {
    let start = net.last();
    conv_norm(
        net,
        &format!("{name}_conv1"),
        Conv::new(outputs, 3).padding(1).stride(stride),
    );
    net.then("", Activation::RELU);
    let branch = conv_norm(
        net,
        &format!("{name}_conv2"),
        Conv::new(outputs, 3).padding(1),
    );
    let shortcut = match project {
        true => {
            net.go_to(start);
            conv_norm(
                net,
                &format!("{name}_shortcut"),
                Conv::new(outputs, 1).stride(stride),
            )
        }
        false => start,
    };
    net.join(format!("{name}_add"), Add {}, &[branch, shortcut]);
    net.then("", Activation::RELU);
}

fn residual(
    mut net: Builder,
    widths: &[usize],
    blocks: usize,
    classes: usize,
) -> Result<Model, ModelError> {
    brick(&mut net, "stem", widths[0]);
    for (stage, outputs) in widths.iter().enumerate() {
        for block in 0..blocks {
            let project = stage > 0 && block == 0;
            let name = format!("block{}_{}", stage + 1, block + 1);
            residual_block(
                &mut net,
                &name,
                *outputs,
                if project { 2 } else { 1 },
                project,
            );
        }
    }
    net.then("", GlobalAveragePool {});
    net.then("fc", Dense::new(classes));
    net.build()
}

fn resnet20_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let net = colours(
        "resnet20",
        facts,
        "small photographs; residual, He et al. 2016",
    );
    residual(net, &[16, 32, 64], 3, facts.classes)
}

fn resnet18_for(facts: &DataFacts) -> Result<Model, ModelError> {
    let net = colours("resnet18", facts, "photographs; residual, for GPUs");
    residual(net, &[64, 128, 256, 512], 2, facts.classes)
}

/// A depthwise 3x3 convolution and a 1x1 convolution that mixes its channels.
fn separable(net: &mut Builder, name: &str, [inputs, outputs, stride]: [usize; 3]) {
    let depthwise = Conv::new(inputs, 3)
        .padding(1)
        .stride(stride)
        .groups(inputs);
    conv_norm(net, &format!("{name}_depthwise"), depthwise);
    net.then("", Activation::RELU);
    conv_norm(net, &format!("{name}_pointwise"), Conv::new(outputs, 1));
    net.then("", Activation::RELU);
}

fn mobilenet_for(name: &str, facts: &DataFacts, width: f64) -> Result<Model, ModelError> {
    let mut net = colours(
        name,
        facts,
        "photographs; depthwise separable, Howard et al. 2017",
    );
    // Multiples of four, as channels are stored.
    let wide = |channels: usize| ((channels as f64 * width / 4.0).round() as usize).max(1) * 4;
    // The original halves images of 224 pixels five times; an image is halved while 4 pixels are left.
    let side = facts.size[0].min(facts.size[1]).max(4);
    let halvings = (side / 4).ilog2().min(5) as usize;
    let mut to_skip = 5 - halvings;
    let mut stride = |wanted: usize| {
        let skipped = wanted == 2 && to_skip > 0;
        to_skip -= usize::from(skipped);
        if skipped { 1 } else { wanted }
    };
    let stem = Conv::new(wide(32), 3).padding(1).stride(stride(2));
    conv_norm(&mut net, "stem", stem);
    net.then("", Activation::RELU);
    let blocks = [
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (512, 1),
        (1024, 2),
        (1024, 1),
    ];
    let mut inputs = 32;
    for (number, (outputs, wanted)) in blocks.into_iter().enumerate() {
        let sizes = [wide(inputs), wide(outputs), stride(wanted)];
        separable(&mut net, &format!("block{}", number + 1), sizes);
        inputs = outputs;
    }
    net.then("", GlobalAveragePool {});
    net.then("fc", Dense::new(facts.classes));
    net.build()
}

fn auto_encoder(name: &str, input: [usize; 3], summary: &str) -> Builder {
    Builder::new(name, input)
        .likelihood(Likelihood::Bernoulli)
        .summary(summary)
}

/// The auto-encoder of Kingma and Welling (2013) for 28 x 28 grey pixels: 784, 400, 20 and back.
pub fn vae_mlp() -> Model {
    let mut net = auto_encoder("vae-mlp", [28, 28, 1], "draws digits; Kingma, Welling 2013");
    dense_relu(&mut net, "encode1", 400);
    net.then("posterior", Dense::new(2 * LATENT));
    net.then("", Latent { size: LATENT });
    dense_relu(&mut net, "decode1", 400);
    net.then("pixels", Dense::new(784));
    own(net.build())
}

fn convolutional(name: &str, input: [usize; 3], summary: &str) -> Model {
    let [height, width, channels] = input;
    let (height, width) = (height / 4, width / 4);
    // Halves an image: 4x4, every second pixel.
    let halve = |outputs| Conv::new(outputs, 4).stride(2).padding(1);
    let same = |outputs| Conv::new(outputs, 3).padding(1);
    let mut net = auto_encoder(name, input, summary);
    conv_relu(&mut net, "encode1", halve(32));
    conv_relu(&mut net, "encode2", halve(64));
    dense_relu(&mut net, "encode3", 256);
    net.then("posterior", Dense::new(2 * LATENT));
    net.then("", Latent { size: LATENT });
    dense_relu(&mut net, "decode1", 256);
    dense_relu(&mut net, "decode2", height * width * 64);
    net.then("", Reshape { height, width });
    net.then("", Upsample { size: 2 });
    conv_relu(&mut net, "decode3", same(32));
    net.then("", Upsample { size: 2 });
    net.then("pixels", same(channels));
    own(net.build())
}

/// A convolutional auto-encoder for 28 x 28 grey pixels.
pub fn vae() -> Model {
    convolutional(
        "vae",
        [28, 28, 1],
        "draws digits and clothes, with convolutions",
    )
}

/// The same for 32 x 32 pixels in colour.
pub fn vae_colour() -> Model {
    convolutional("vae-colour", [32, 32, 3], "draws small photographs")
}
