//! Where values lie in the arena.

use super::super::{Program, Read, Step};
use crate::graph::{INPUT, Shape, Value};
use crate::op::integers::Form;

/// An image in the arena, with zeros around it where a convolution reads beyond its edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// For one image.
    pub shape: Shape,
    /// Rows above and below, columns left and right.
    pub border: [usize; 2],
    /// From the step that writes it to the last that reads it, counted from 1; 0 is before the first step.
    pub life: [usize; 2],
    /// Numbers from the beginning of the arena.
    pub offset: usize,
}

impl Place {
    /// Numbers from row to row.
    pub fn row_step(&self) -> usize {
        (self.shape.width + 2 * self.border[1]) * self.shape.channels
    }

    /// The first number of the image.
    pub fn first(&self) -> usize {
        self.offset + self.border[0] * self.row_step() + self.border[1] * self.shape.channels
    }

    /// Numbers, border included. Without rows above and below, the last row is followed by its border and that of a row
    /// that is not there.
    fn len(&self) -> usize {
        let rows = self.shape.height + 2 * self.border[0];
        let side = if self.border[0] == 0 {
            self.border[1]
        } else {
            0
        };
        rows * self.row_step() + side * self.shape.channels
    }

    fn lives_with(&self, other: &Self) -> bool {
        self.life[0] <= other.life[1] && other.life[0] <= self.life[1]
    }
}

/// A read that finds its value in a shape or without a border that it cannot use: the value is copied first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The step, counted from 0.
    pub step: usize,
    /// Which of its inputs.
    pub input: usize,
    /// The copy's number among [`Layout::places`].
    pub place: usize,
}

/// The arena.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Values and copies.
    pub places: Vec<Place>,
    /// The place of each value that has one.
    of_values: Vec<Option<usize>>,
    /// Copies, in the order of steps.
    pub copies: Vec<Copied>,
    /// Where the lists of taps lie, in numbers, a multiple of four bytes.
    pub taps: usize,
    /// Numbers in all.
    pub len: usize,
}

/// Zeros that a read needs around its image.
fn border(step: &Step<'_>) -> [usize; 2] {
    match step.form {
        Form::Product { shape, .. } => shape.padding,
        _ => [0, 0],
    }
}

impl Layout {
    /// All places, none of them arranged yet.
    pub fn new(program: &Program<'_>) -> Self {
        let most = program.steps.iter().map(|step| step.gives).max();
        let mut layout = Self {
            places: Vec::new(),
            of_values: vec![None; most.unwrap_or(INPUT) + 1],
            copies: Vec::new(),
            taps: 0,
            len: 0,
        };
        layout.add_value(program, INPUT, 0);
        let last = program.steps.len() - 1;
        for (number, step) in program.steps.iter().enumerate() {
            for (input, read) in step.reads.iter().enumerate() {
                if layout.must_copy(step, *read) {
                    layout.copies.push(Copied {
                        step: number,
                        input,
                        place: layout.places.len(),
                    });
                    layout.places.push(Place {
                        shape: read.shape,
                        border: border(step),
                        life: [number + 1; 2],
                        offset: 0,
                    });
                }
            }
            // The output is the caller's.
            if number != last {
                layout.add_value(program, step.gives, number + 1);
            }
        }
        layout
    }

    fn add_value(&mut self, program: &Program<'_>, value: Value, born: usize) {
        let shape = program.shape_of(value);
        let mut around = [0, 0];
        let mut reshaped = false;
        for step in &program.steps {
            for read in step.reads.iter().filter(|read| read.value == value) {
                reshaped |= read.shape.sides() != shape.sides();
                let needs = border(step);
                around = [0, 1].map(|side| around[side].max(needs[side]));
            }
        }
        self.of_values[value] = Some(self.places.len());
        self.places.push(Place {
            shape,
            border: if reshaped { [0, 0] } else { around },
            life: [born, program.last_use(value).map_or(born, |step| step + 1)],
            offset: 0,
        });
    }

    fn must_copy(&self, step: &Step<'_>, read: Read) -> bool {
        let place = self.place(read.value);
        let needs = border(step);
        (0..2).any(|side| place.border[side] < needs[side])
    }

    /// The place of a value.
    pub fn place(&self, value: Value) -> &Place {
        let number = self.of_values[value].expect("steps read what steps before gave");
        &self.places[number]
    }

    /// The number of the place that a step writes, unless it is the caller's.
    pub fn written(&self, step: &Step<'_>) -> Option<usize> {
        self.of_values[step.gives]
    }

    /// What a step reads: a copy, or the value itself in the shape in which the step reads it.
    pub fn read(&self, number: usize, input: usize, read: Read) -> Place {
        let copy = self.copies.iter();
        let copy = copy.clone().find(|c| c.step == number && c.input == input);
        match copy {
            Some(copy) => self.places[copy.place].clone(),
            None => Place {
                shape: read.shape,
                ..self.place(read.value).clone()
            },
        }
    }

    /// Gives each place its offset: largest first, each at the lowest that is free for its whole life. `lists` are the
    /// numbers that the list of taps of each step takes; `align` numbers are four bytes.
    pub fn arrange(&mut self, lists: &[usize], align: usize) {
        let mut all: Vec<(Option<usize>, usize, Place)> = Vec::new();
        for (number, place) in self.places.iter().enumerate() {
            all.push((Some(number), place.len(), place.clone()));
        }
        let with_list = |taps: &usize| *taps > 0;
        if let (Some(first), Some(last)) = (
            lists.iter().position(with_list),
            lists.iter().rposition(with_list),
        ) {
            let longest = lists.iter().copied().max().unwrap_or(0);
            let place = Place {
                shape: Shape::row(longest),
                border: [0, 0],
                life: [first + 1, last + 1],
                offset: 0,
            };
            all.push((None, longest, place));
        }
        all.sort_by_key(|(_, len, _)| std::cmp::Reverse(*len));
        let mut placed: Vec<(usize, Place)> = Vec::new();
        for (number, len, mut place) in all {
            let mut at = 0;
            loop {
                let clash = placed.iter().find(|(other_len, other)| {
                    other.lives_with(&place)
                        && other.offset < at + len
                        && at < other.offset + other_len
                });
                match clash {
                    Some((other_len, other)) => {
                        at = (other.offset + other_len).next_multiple_of(align);
                    }
                    None => break,
                }
            }
            place.offset = at;
            self.len = self.len.max((at + len).next_multiple_of(align));
            match number {
                Some(number) => self.places[number].offset = at,
                None => self.taps = at,
            }
            placed.push((len, place));
        }
    }
}
