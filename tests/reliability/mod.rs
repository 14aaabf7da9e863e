mod checks;
mod refresh;
mod rotation;
mod storm;
mod support;
