mod checks;
mod lost;
mod refresh;
mod rotation;
mod storm;
mod support;
