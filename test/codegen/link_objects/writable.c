// A kernel must not keep state; the linker refuses this object.
int counter = 3;
int count(void) { return ++counter; }
