//! A program as steps of the engine: where values lie in the activation memory, and six nested loops for each step.

use std::collections::BTreeMap;

use super::Options;
use crate::export::{ExportError, Program, Read, Step};
use crate::graph::{INPUT, Value};
use crate::op::WindowShape;
use crate::op::integers::Form;

/// Where a value, or a copy of one, lies in the activation memory.
#[derive(Clone, Debug)]
pub struct Place {
    /// Rows, columns and channels.
    pub sides: [usize; 3],
    /// Numbers from one pixel to the next.
    pub pixel: usize,
    /// Whether the numbers between the channels of pixels are zeros.
    pub clean: bool,
    /// Its first number.
    pub base: usize,
    /// The first and the last step of the engine during which it must be kept.
    life: [usize; 2],
    /// The place whose numbers these are under another shape: itself, if it is none.
    root: usize,
}

impl Place {
    fn len(&self) -> usize {
        self.sides[0] * self.sides[1] * self.pixel
    }

    pub(super) fn dense(&self) -> bool {
        self.pixel == self.sides[2] || self.sides[0] * self.sides[1] == 1
    }
}

/// What a step does with the numbers that it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Sums of the array, and the step of the program whose weights they take.
    Product {
        /// Groups of the convolution.
        groups: usize,
        /// The first word that each group of lanes reads is so many words after that of the group before.
        words_apart: usize,
    },
    /// Sums of the window unit, shifted: (places up of the first and the second row, places to the right).
    Window {
        /// The largest number instead of the sum.
        maximum: bool,
        /// Only numbers that are not negative go up.
        leaky: bool,
        /// Places by which numbers of the first window row, and of the others, go up.
        ups: [u32; 2],
        /// Places to the right.
        shift: i32,
    },
}

/// A step of the engine.
#[derive(Clone, Debug)]
pub struct Micro {
    /// Number of the program's step that it is, or is a part of.
    pub step: usize,
    /// What it does.
    pub work: Work,
    /// The place that it reads, and the offset of the first number, which may lie before the place.
    pub from: (usize, i64),
    /// A second place, of a sum of two values.
    pub second: Option<usize>,
    /// Counts of the loops: words, window columns and rows, groups of outputs, output columns and rows.
    pub counts: [usize; 6],
    /// Numbers between neighbours of each loop.
    pub strides: [i64; 6],
    /// Column and row of the first number of the first window.
    pub first: [i64; 2],
    /// Columns and rows between windows.
    pub apart: [usize; 2],
    /// Columns and rows of the image, where windows reach beyond it.
    pub image: Option<[usize; 2]>,
    /// The place that it writes, and the offset in each pixel; none of the last step.
    pub to: Option<(usize, usize)>,
    /// Numbers that it writes of a pixel, and how many of these are no padding.
    pub written: [usize; 2],
    /// Rows and columns of a max pool behind it.
    pub pool: [usize; 2],
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

/// A program as the engine runs it.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The steps in which a product keeps what a max pool would.
    pub program: Program<'a>,
    /// Windows of these pools, by the value that the step gives.
    pub pools: BTreeMap<Value, [usize; 2]>,
    /// Places of values and copies.
    pub places: Vec<Place>,
    /// The place of each value that is made.
    pub values: BTreeMap<Value, usize>,
    /// The engine's steps.
    pub micros: Vec<Micro>,
    /// Words of the activation memory.
    pub words: usize,
    /// Inputs that each lane adds a clock.
    pub inputs: usize,
    /// Outputs that are summed at once.
    pub lanes: usize,
}

fn refuse<T>(step: &Step<'_>, reason: String) -> Result<T, ExportError> {
    Err(ExportError::Layer {
        layer: step.name.to_owned(),
        reason,
    })
}

impl<'a> Plan<'a> {
    /// Plans a program.
    ///
    /// # Errors
    /// [`ExportError::Layer`] for an operation that the engine lacks.
    pub fn new(program: &Program<'a>, options: &Options) -> Result<Self, ExportError> {
        let last = program.steps.len() - 1;
        let (program, pools) = crate::export::pooled(program, |_, _, pool| pool != last);
        let sides = program.input.sides();
        let mut plan = Self {
            program: program.clone(),
            pools,
            places: vec![Place {
                sides,
                pixel: sides[2],
                clean: false,
                base: 0,
                life: [0, 0],
                root: 0,
            }],
            values: BTreeMap::from([(INPUT, 0)]),
            micros: Vec::new(),
            words: 0,
            inputs: options.inputs,
            lanes: options.lanes,
        };
        for number in 0..program.steps.len() {
            plan.step(number)?;
        }
        plan.allocate();
        Ok(plan)
    }

    pub(super) fn padded(&self, channels: usize) -> usize {
        channels.next_multiple_of(self.inputs)
    }

    pub(super) fn add_place(&mut self, sides: [usize; 3], pixel: usize) -> usize {
        let born = self.micros.len();
        let root = self.places.len();
        self.places.push(Place {
            sides,
            pixel,
            clean: true,
            base: 0,
            life: [born, born],
            root,
        });
        root
    }

    /// The place of what a step gives, unless it is the last one.
    pub(super) fn output(&mut self, number: usize, sides: [usize; 3]) -> Option<(usize, usize)> {
        if number + 1 == self.program.steps.len() {
            return None;
        }
        let place = self.add_place(sides, self.padded(sides[2]));
        self.values.insert(self.program.steps[number].gives, place);
        Some((place, 0))
    }

    pub(super) fn push(&mut self, micro: Micro) {
        let now = self.micros.len();
        let places = [Some(micro.from.0), micro.second, micro.to.map(|to| to.0)];
        for place in places.into_iter().flatten() {
            let root = self.places[place].root;
            self.places[root].life[1] = now;
        }
        self.micros.push(micro);
    }

    /// The place of what a step reads, with the shape in which it reads it.
    pub(super) fn read(&mut self, step: &Step<'_>, read: Read) -> Result<usize, ExportError> {
        let place = self.values[&read.value];
        let sides = read.shape.sides();
        let found = self.places[place].clone();
        if found.sides == sides {
            return Ok(place);
        }
        if !found.dense() {
            return refuse(
                step,
                format!(
                    "{}: it reads {} x {} x {} numbers as another shape, and they lie in pixels of {} there. Take a number \
                     of inputs (--inputs) that {} channels are a multiple of",
                    step.word,
                    found.sides[0],
                    found.sides[1],
                    found.sides[2],
                    found.pixel,
                    found.sides[2]
                ),
            );
        }
        Ok(self.renamed(place, sides))
    }

    /// The same numbers, which lie without gaps, in another shape.
    pub(super) fn renamed(&mut self, place: usize, sides: [usize; 3]) -> usize {
        let found = self.places[place].clone();
        self.places.push(Place {
            sides,
            pixel: sides[2],
            clean: found.clean && found.pixel == found.sides[2],
            ..found
        });
        self.places.len() - 1
    }

    fn step(&mut self, number: usize) -> Result<(), ExportError> {
        let program = self.program.clone();
        let step = &program.steps[number];
        match &step.form {
            Form::Product { shape, groups } => self.product(number, step, shape, *groups),
            Form::Average { shape, shift } => self.windows(number, step, shape, false, *shift),
            Form::Maximum { shape } => self.windows(number, step, shape, true, 0),
            Form::Activation { leak, shift } => {
                let work = Work::Window {
                    maximum: false,
                    leaky: true,
                    ups: [*leak, 0],
                    shift: *shift,
                };
                let place = self.values[&step.reads[0].value];
                self.map(number, step, work, place, None);
                Ok(())
            }
            Form::Sum { ups, shift } => self.sum(number, step, ups, *shift),
            Form::Join { shifts } => self.join(number, step, shifts),
            Form::Repeat { .. } => refuse(
                step,
                format!(
                    "{}: the engine has no such operation. Train a network without it, or write C with --to c",
                    step.word
                ),
            ),
        }
    }

    /// A step that goes over pixels, one number at a time.
    fn map(
        &mut self,
        number: usize,
        step: &Step<'_>,
        work: Work,
        place: usize,
        second: Option<usize>,
    ) {
        let from = self.places[place].clone();
        let [height, width, channels] = from.sides;
        let to = self.output(number, from.sides);
        let written = match to {
            Some(_) => self.padded(channels),
            None => channels,
        };
        let pixel = from.pixel as i64;
        self.push(Micro {
            step: number,
            work,
            from: (place, 0),
            second,
            counts: [
                1,
                1,
                1 + usize::from(second.is_some()),
                written,
                width,
                height,
            ],
            strides: [0, 0, 0, 1, pixel, width as i64 * pixel],
            first: [0, 0],
            apart: [1, 1],
            image: None,
            to,
            written: [written, channels],
            pool: [1, 1],
            limits: step.limits,
        });
    }

    /// Copies a value so that its pixels begin at words and have zeros behind their channels.
    pub(super) fn cleaned(&mut self, number: usize, place: usize) -> usize {
        let from = self.places[place].clone();
        let copy = self.add_place(from.sides, self.padded(from.sides[2]));
        self.copy(number, place, copy, 0, [0, 0], 1, 1);
        copy
    }

    /// Copies the channels of every pixel of `place`, read from `first` on and `apart` columns from each other, to
    /// `offset` in the pixels of `copy`. The last of all copies writes the zeros behind them.
    #[allow(
        clippy::too_many_arguments,
        reason = "one caller each for two kinds of copies"
    )]
    pub(super) fn copy(
        &mut self,
        number: usize,
        place: usize,
        copy: usize,
        offset: usize,
        first: [i64; 2],
        apart: usize,
        copies: usize,
    ) {
        let (from, to) = (self.places[place].clone(), self.places[copy].clone());
        let [height, width, channels] = from.sides;
        let whole = offset + channels == copies * channels;
        let written = match whole {
            true => to.pixel - offset,
            false => channels,
        };
        let pixel = from.pixel as i64;
        let most = self.program.model.most() as i32;
        let beyond = first[0] < 0
            || (to.sides[1] - 1) * apart + usize::try_from(first[0].max(0)).unwrap_or(0) >= width;
        self.push(Micro {
            step: number,
            work: Work::Window {
                maximum: false,
                leaky: false,
                ups: [0, 0],
                shift: 0,
            },
            from: (place, first[0] * pixel),
            second: None,
            counts: [1, 1, 1, written, to.sides[1], height],
            strides: [
                0,
                0,
                0,
                1,
                apart as i64 * pixel,
                (width * from.pixel) as i64,
            ],
            first,
            apart: [apart, 1],
            image: beyond.then_some([width, height]),
            to: Some((copy, offset)),
            written: [written, channels],
            pool: [1, 1],
            limits: [-most, most],
        });
    }

    fn windows(
        &mut self,
        number: usize,
        step: &Step<'_>,
        shape: &WindowShape,
        maximum: bool,
        shift: i32,
    ) -> Result<(), ExportError> {
        let place = self.read(step, step.reads[0])?;
        let from = self.places[place].clone();
        let [height, width, channels] = from.sides;
        let [rows, columns] = shape.output();
        let to = self.output(number, step.shape.sides());
        let written = match to {
            Some(_) => self.padded(channels),
            None => channels,
        };
        let pixel = from.pixel as i64;
        let row = width as i64 * pixel;
        let [top, left] = shape.padding.map(|p| p as i64);
        self.push(Micro {
            step: number,
            work: Work::Window {
                maximum,
                leaky: false,
                ups: [0, 0],
                shift,
            },
            from: (place, -(top * row + left * pixel)),
            second: None,
            counts: [1, shape.window[1], shape.window[0], written, columns, rows],
            strides: [
                0,
                pixel,
                row,
                1,
                shape.stride[1] as i64 * pixel,
                shape.stride[0] as i64 * row,
            ],
            first: [-left, -top],
            apart: [shape.stride[1], shape.stride[0]],
            image: (shape.padding != [0, 0]).then_some([width, height]),
            to,
            written: [written, channels],
            pool: [1, 1],
            limits: step.limits,
        });
        Ok(())
    }

    fn sum(
        &mut self,
        number: usize,
        step: &Step<'_>,
        ups: &[u32],
        shift: i32,
    ) -> Result<(), ExportError> {
        let (first, second) = match ups {
            [one] => ([*one, 0], None),
            [one, two] => ([*one, *two], Some(1)),
            more => {
                return refuse(
                    step,
                    format!(
                        "{}: it adds {} values, and the engine adds two at a time. Add them in pairs",
                        step.word,
                        more.len()
                    ),
                );
            }
        };
        let mut places: Vec<usize> = step
            .reads
            .iter()
            .map(|read| self.values[&read.value])
            .collect();
        let layout =
            |plan: &Self, place: usize| (plan.places[place].sides, plan.places[place].pixel);
        if second.is_some() && layout(self, places[0]) != layout(self, places[1]) {
            for (place, read) in places.iter_mut().zip(&step.reads) {
                let same = self.read(step, *read)?;
                *place = self.cleaned(number, same);
            }
        }
        let work = Work::Window {
            maximum: false,
            leaky: false,
            ups: first,
            shift,
        };
        self.map(number, step, work, places[0], second.map(|i| places[i]));
        Ok(())
    }

    fn join(&mut self, number: usize, step: &Step<'_>, shifts: &[i32]) -> Result<(), ExportError> {
        let [height, width, _] = step.shape.sides();
        let last = number + 1 == self.program.steps.len();
        if last && height * width > 1 {
            return refuse(
                step,
                format!(
                    "{}: the engine cannot join images as the last step. Put a pool or a layer behind it",
                    step.word
                ),
            );
        }
        let mut places = Vec::new();
        for read in &step.reads {
            places.push(self.read(step, *read)?);
        }
        let to = self.output(number, step.shape.sides());
        let mut offset = 0;
        for (i, place) in places.iter().enumerate() {
            let from = self.places[*place].clone();
            let part = from.sides[2];
            let written = match to {
                Some((place, _)) if i + 1 == places.len() => self.places[place].pixel - offset,
                _ => part,
            };
            let pixel = from.pixel as i64;
            self.push(Micro {
                step: number,
                work: Work::Window {
                    maximum: false,
                    leaky: false,
                    ups: [0, 0],
                    shift: shifts[i],
                },
                from: (*place, 0),
                second: None,
                counts: [1, 1, 1, written, width, height],
                strides: [0, 0, 0, 1, pixel, width as i64 * pixel],
                first: [0, 0],
                apart: [1, 1],
                image: None,
                to: to.map(|(place, _)| (place, offset)),
                written: [written, part],
                pool: [1, 1],
                limits: step.limits,
            });
            offset += part;
        }
        Ok(())
    }

    /// Gives every place the first gap that is free during its life.
    fn allocate(&mut self) {
        let own = |place: &usize| self.places[*place].root == *place;
        let mut order: Vec<usize> = (0..self.places.len()).filter(own).collect();
        order.sort_by_key(|place| (self.places[*place].life[0], *place));
        let mut taken: Vec<usize> = Vec::new();
        for place in order {
            let (life, len) = (
                self.places[place].life,
                self.padded(self.places[place].len()),
            );
            let mut others: Vec<[usize; 2]> = taken
                .iter()
                .filter(|other| {
                    let known = self.places[**other].life;
                    known[0] <= life[1] && life[0] <= known[1]
                })
                .map(|other| {
                    [
                        self.places[*other].base,
                        self.padded(self.places[*other].len()),
                    ]
                })
                .collect();
            others.sort_unstable();
            let mut at = 0;
            for [base, size] in others {
                if at + len <= base {
                    break;
                }
                at = at.max(base + size);
            }
            self.places[place].base = at;
            self.words = self.words.max((at + len) / self.inputs);
            taken.push(place);
        }
        for place in 0..self.places.len() {
            self.places[place].base = self.places[self.places[place].root].base;
        }
        // What lies behind the last pixel may be read, without a weight.
        let margin = self.micros.iter().map(|micro| match micro.work {
            Work::Product {
                groups,
                words_apart,
            } if groups > 1 => (micro.counts[3] - 1) * words_apart + micro.counts[0],
            _ => 0,
        });
        self.words += margin.max().unwrap_or(0);
    }
}
