// The second object of link_test.
const int shared_table[4] = {5, 6, 7, 8};
int add_seven(int x) { return x + 7; }
