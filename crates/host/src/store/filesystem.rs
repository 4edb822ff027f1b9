//! What kind of file system a folder is on.

use std::fs;
use std::io;
use std::path::Path;

/// Magic numbers of `statfs(2)` whose locks and renames end at this machine, or are known not to be atomic.
const NETWORK: [(u64, &str); 13] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
];
const FUSE: u64 = 0x6573_5546;
/// FUSE file systems that keep their files on this machine (or, virtiofs, on its host).
const LOCAL_FUSE: [&str; 4] = ["fuseblk", "fuse.fuse-overlayfs", "fuse.ntfs-3g", "virtiofs"];

/// The name of the network file system that `folder` is on, if it is on one.
pub(super) fn network(folder: &Path) -> io::Result<Option<String>> {
    let magic = rustix::fs::statfs(folder)?.f_type as u64 & 0xffff_ffff;
    if magic == FUSE {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let kind = kind_of_mount(&mounts, folder).unwrap_or("fuse");
        return Ok((!LOCAL_FUSE.contains(&kind)).then(|| kind.to_owned()));
    }
    Ok(by_magic(magic).map(str::to_owned))
}

fn by_magic(magic: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// The type of the deepest mount that `folder` lies in: the ninth word or later, behind " - ".
fn kind_of_mount<'a>(mountinfo: &'a str, folder: &Path) -> Option<&'a str> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let at = line.split(' ').nth(4)?;
            let kind = line.split_once(" - ")?.1.split(' ').next()?;
            folder.starts_with(at).then_some((at.len(), kind))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_number_or_name() {
        assert_eq!(by_magic(0x6969), Some("NFS"));
        assert_eq!(by_magic(0xef53), None);
        let mounts = "22 1 0:20 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:44 / /mnt/far rw,nosuid shared:5 - fuse.sshfs far:/ rw\n";
        assert_eq!(kind_of_mount(mounts, Path::new("/mnt/far/store")), Some("fuse.sshfs"));
        assert_eq!(kind_of_mount(mounts, Path::new("/mnt/farther")), Some("ext4"));
    }

    #[test]
    fn this_machines_own_disk_is_taken() {
        assert_eq!(network(&std::env::temp_dir()).unwrap(), None);
    }
}
