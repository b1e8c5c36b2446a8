//! The program as its users meet it: arguments in, exit code and words out.
