// Package volume owns the volumes of this node: directories that outlive the
// containers using them, Docker's driver "local".
//
// A volume is a record in a table and a directory NAME/_data. The record is
// written before the directory is made and deleted after it is gone, so that a
// crash leaves nothing unknown. A volume with the options type, device and o
// has that file system mounted on its directory while a container that runs
// uses it; Restore unmounts what a crash left.
//
// A container holds its volumes from its creation to its removal, and a held
// volume can't be removed. Holds are not recorded here: they follow from the
// containers' records, which Restore is told. The package does not know images:
// Fill takes the directory to copy from.
//
// File systems of other machines (nfs, cifs) are refused, and so are quotas.
package volume
