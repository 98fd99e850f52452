package container_test

import "strings"

// requestLines are command lines that both clients take, one for each flag of
// create and more for those with forms of their own.
func requestLines() []string {
	return lines(`
create img
create img cmd -x --rm
create --name n1 --platform linux/arm64 img
create --platform linux/arm img
create -a stdin -a STDERR -i -t img
create -e A=1 -e B=2 -e A=3 --env-file vars.env img
create --entrypoint sh img
create --entrypoint= img
create -l a=b -l c --label-file labels.txt img
create --label-file labels.txt -l from=flag img
create -u 1:2 -w /w -h host --domainname d --stop-signal INT --stop-timeout 7 img
create --rm img
create --restart always img
create --restart on-failure:3 img
create --restart unless-stopped img
create --init img
create --init=false img
create -v /a:/b img
create -v /a:/b:ro -v vol:/c -v /d img
create -v vol:/c:nocopy,ro -v /a:/b:ro,z,rslave img
create -v ./here:/b -v ../up:/c img
create -v .:/b img
create -v ~/x:/b img
create -v /x img
create -v a:/b img
create -v c:\x:/b img
create -v /a:/b -v /a:/b img
create -v x img
create -v é:/b img
create --volumes-from a --volumes-from b:ro img
create --volume-driver vd -v vol:/c img
create --tmpfs /run --tmpfs /tmp:rw,size=64m img
create --mount type=volume,source=vol,target=/c img
create --mount type=bind,src=/a,dst=/b,readonly img
create --mount type=bind,src=/a,dst=/b,bind-propagation=rslave,bind-recursive=disabled img
create --mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777 img
create --mount type=volume,target=/c,volume-driver=d,volume-opt=k=v,volume-label=l=m,volume-nocopy img
create --mount type=volume,src=v,target=/c,volume-subpath=sub img
create --mount type=image,src=im,target=/c img
create --storage-opt size=10G --storage-opt x=y img
create --read-only img
create --shm-size 64m img
create -m 512m --memory-reservation 256m --memory-swap 1g --memory-swappiness 60 img
create -m 1.5g --memory-swap -1 img
create --kernel-memory 50m img
create --oom-kill-disable --oom-score-adj -500 --pids-limit 100 img
create --pids-limit -1 img
create --cpus 1.5 img
create -c 512 --cpu-period 100000 --cpu-quota 50000 --cpuset-cpus 0-3 --cpuset-mems 0 img
create --cpu-rt-period 1000000 --cpu-rt-runtime 950000 img
create --blkio-weight 300 --blkio-weight-device /dev/sda:200 img
create --device-read-bps /dev/sda:1mb --device-write-bps /dev/sda:2mb img
create --device-read-iops /dev/sda:100 --device-write-iops /dev/sda:200 img
create --ulimit nofile=1024:2048 --ulimit core=0 img
create --ulimit nproc=-1 img
create --device /dev/fuse img
create --device /dev/fuse:r img
create --device /dev/fuse:/dev/x//y img
create --device /dev/fuse:/dev/x:rw --device vendor.com/class=all img
create --device ./rel:/dev/x img
create --device /dev/a/../b img
create --device-cgroup-rule 'c 13:* rwm' img
create --gpus all img
create --gpus 2,driver=nvidia,capabilities=utility img
create --cap-add NET_ADMIN --cap-add ALL --cap-drop MKNOD img
create --privileged img
create --group-add 4 --group-add wheel img
create --security-opt no-new-privileges --security-opt label=disable img
create --security-opt label:disable img
create --security-opt seccomp=unconfined --security-opt apparmor=p img
create --security-opt seccomp=seccomp.json img
create --security-opt seccomp:seccomp.json img
create --security-opt seccomp=builtin img
create --security-opt systempaths=unconfined img
create --security-opt systempaths=unconfined --security-opt label=disable img
create --sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=2 img
create --pid host --ipc host --uts host --userns host --cgroupns host img
create --pid container:x --ipc container:x --cgroupns private img
create --ipc shareable img
create --ipc odd img
create --cgroup-parent /p --runtime runc --isolation default img
create --annotation a=b --annotation c img
create --health-cmd 'curl -f x' --health-interval 5s --health-retries 3 --health-timeout 1m img
create --health-start-period 1m30s --health-start-interval 2s img
create --no-healthcheck img
create --log-driver none img
create --log-driver json-file --log-opt max-size=10m --log-opt max-file img
create --log-opt tag=x img
create --dns 1.1.1.1 --dns-search a.b --dns-option x --dns-opt y img
create --dns-search . img
create --add-host a:1.1.1.1 --add-host b=2.2.2.2 --add-host c:host-gateway --add-host d=[::1] img
create -p 80 -p 8080:80/udp -p 127.0.0.1:53:53/udp -p 9000-9001:90-91 img
create -p published=8080,target=80,protocol=sctp img
create -p [::1]:80:80 img
create -P --expose 90-91/udp --expose 80 img
create --network n1 img
create --net host img
create --network none img
create --network container:x img
create --network n1 --ip 1.2.3.4 --ip6 ::1 --link-local-ip 169.254.1.1 img
create --network n1 --network-alias a --net-alias b --link db:x img
create --link db:x --link db2 img
create --network n1 --network n2 --ip 1.2.3.4 img
create --network name=n1,ip=10.0.0.2,alias=a,alias=b,driver-opt=k=v,gw-priority=3 img
create --network name=n1,ip6=::2,link-local-ip=169.254.1.1,mac-address=02:42:ac:11:00:09 img
create --network name=n1,alias=a --network name=n2,alias=b img
create --mac-address 02:42:ac:11:00:09 img
create --mac-address 02:42:ac:11:00:09 --network n1 img
create --restart odd img
create --restart always:3 img
create --mount type=odd,target=/a img
create --annotation = img
create -v a::b img
create --platform linux img
create --platform Linux/x86_64 img
create --platform linux/armhf img
create --quiet --pull never img
create --disable-content-trust img
container create -v /a:/b img
`)
}

// refusalLines are mistakes.
func refusalLines() []string {
	return lines(`
create
run
create --odd img
run --pull often img
run -a odd img
run -d -a stdout img
run -it img
run --rm --restart always img
create --restart on-failure:x img
create --mac-address x img
create --memory-swappiness 101 img
create --memory-swappiness -2 img
create -m x img
create --memory-swap x img
create --shm-size x img
create --cpus x img
create --cpus 1.0000000001 img
create --pids-limit x img
create --blkio-weight 99999 img
create --blkio-weight-device /dev/sda:5 img
create --blkio-weight-device sda:100 img
create --device-read-bps /dev/sda img
create --device-read-iops /dev/sda:-1 img
create --ulimit x img
create --ulimit nofile=10:5 img
create -v '' img
create -v ab::b img
create -v ab:/c:ro:rw:x img
create -v :/b img
create -v /a: img
create --mount '' img
create --mount type=bind,source=/a img
create --mount type=bind,target=/a,odd=1 img
create --mount type=bind,src=/a,target=/b,volume-nocopy img
create --storage-opt x img
create --device '' img
create --device x img
create --device /a:b img
create --device /a:/b:x img
create --device /a:/b:rr img
create --device /a:/b:r:w img
create --device-cgroup-rule x img
create --gpus x=y img
create --security-opt odd img
create --security-opt seccomp= img
create --security-opt seccomp=missing.json img
create --security-opt seccomp=labels.txt img
create --sysctl x img
create --pid odd img
create --pid container: img
create --uts odd img
create --userns odd img
create --cgroupns odd img
create --no-healthcheck --health-retries 3 img
create --health-interval -5s img
create --health-timeout -5s img
create --health-retries -1 img
create --health-start-period -5s img
create --health-start-interval -5s img
create --health-interval x img
create --log-driver none --log-opt a=b img
create --dns x img
create --dns-search x_y.- img
create --add-host x img
create --add-host x:y img
create -p published=1,odd img
create -p 99999:80 img
create -p x img
create --expose 1:2 img
create --expose x img
create --env-file missing.env img
create --env-file bad.env img
create --label-file missing.txt img
create -e =x img
create -l '' img
create --network name=n,odd=1 img
create --network '' img
create --network name=n,mac-address=x img
create --network n1 --network n1 img
create --network n1 --network host img
create --network name=n,ip=1.1.1.1 --ip 1.1.1.2 img
create --network name=n,ip6=::1 --ip6 ::2 img
create --network name=n,alias=a --network-alias b img
create --network name=n,link-local-ip=1.1.1.1 --link-local-ip 2.2.2.2 img
create --network host --network-alias a img
create --network name=host,alias=a img
create --link a:b:c img
create --link '' img
create --platform '' --cidfile labels.txt img
run --cidfile labels.txt img
create --cidfile missing/x img
run UPPER
create --platform a/b/c/d img
create --platform 'linux/a b' img
create --stop-timeout x img
create --oom-score-adj x img
create --init=x img
`)
}

func lines(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") }
