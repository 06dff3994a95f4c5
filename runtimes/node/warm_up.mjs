// The first ES module that a process evaluates: with it comes the loader, which the user's module then finds ready.
export {};

//# sourceURL=faas:warm_up
