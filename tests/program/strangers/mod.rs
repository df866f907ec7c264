//! What strangers bring: their files, folders and shells, and what they mean by them. A module for each kind of situation;
//! the cases come from public bug reports of programs of this sort.

mod archives;
mod data;
mod models;
mod outputs;
mod pictures;
mod runs;
mod settings;
mod words;
