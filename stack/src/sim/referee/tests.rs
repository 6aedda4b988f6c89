//! Each rule finds its planted fault and nothing else, in a conversation that is right without it.

mod planted;
mod recorded;
mod script;
