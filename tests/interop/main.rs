//! The stories of the house, told with real programs: each test is one of them.
