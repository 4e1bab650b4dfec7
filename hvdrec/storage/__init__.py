"""Access to files, local or in a store (``s3://``, ``oss://``, ``gs://``, ``hdfs://``).

A path is a string. Local paths are passed to the operating system, without a ``file://`` prefix; all others
go through `pyarrow.fs`, with retries (`retry`).
"""

from hvdrec.storage.address import check, is_remote, join, local, name, parent
from hvdrec.storage.filesystems import locate, register_filesystem
from hvdrec.storage.objects import (
    download,
    exists,
    folders,
    is_file,
    is_folder,
    listing,
    modified,
    read_text,
    remove,
    remove_folder,
    upload,
    write_text,
)
from hvdrec.storage.ranges import work_dir
from hvdrec.storage.retries import retry

__all__ = [
    "check",
    "download",
    "exists",
    "folders",
    "is_file",
    "is_folder",
    "is_remote",
    "join",
    "listing",
    "local",
    "locate",
    "modified",
    "name",
    "parent",
    "read_text",
    "register_filesystem",
    "remove",
    "remove_folder",
    "retry",
    "upload",
    "work_dir",
    "write_text",
]
