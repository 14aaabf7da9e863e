mod refresh;
mod storm;
mod support;
