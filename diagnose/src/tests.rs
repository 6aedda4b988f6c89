//! Captures made by hand, judged.

mod damage;
mod formats;
mod situations;
mod tape;
