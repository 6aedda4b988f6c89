//! Each rule finds its planted fault and nothing else, in a conversation that is right without it; and what only looks like one
//! is let pass.

mod allowed;
mod planted;
mod recorded;
mod script;
