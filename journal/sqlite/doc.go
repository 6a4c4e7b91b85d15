// Package sqlite keeps a journal in one file, with SQLite inside the process.
// It is for a single gateway: the file belongs to the process that opened it.
//
// # What it defends against
//
//   - Two processes that write the same file: the one that opened it first owns
//     it, by a lock on a file beside it that ends with the process. A second one
//     fails at once with [journal.ErrLocked].
//   - A process or a machine that dies: a batch is on the disk when Write returns,
//     and one that was cut is gone as a whole.
//   - A full disk, a medium that fails, a file that was damaged: nothing is
//     written, and the error says so. When there is room again, it goes on.
//   - A file of something else, or of a newer version: it is not touched.
//
// # What always holds
//
// Reads never wait for writes, nor writes for reads. A list that is read slowly
// holds no connection and keeps no old state alive. Files are for their owner
// alone (0600). The file's name is all that an error tells.
package sqlite
