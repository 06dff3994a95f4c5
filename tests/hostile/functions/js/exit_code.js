// Tries: an exit code that is none. Expected: 500 exit, or 200 where it is 0 modulo 256.
process.reallyExit(511);
