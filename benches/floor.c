/* The kernel's own share of starting containers: for each a clone with six namespaces, an overlay, /proc, /dev, /sys,
 * pivot_root, a veth pair into the namespace, and an exec; no images, limits, logs, names or state.
 *
 * usage: floor ROOT COUNT   (ROOT: a folder with /bin/sleep; prints the milliseconds that COUNT of them took, and ends
 * them). The containers are made one after the other, and their programs run at the same time, as after `up -d`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(int bad, const char *what) {
    if (bad) {
        perror(what);
        exit(1);
    }
}

static struct rtattr *add(struct nlmsghdr *message, int type, const void *data, int length) {
    struct rtattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(length);
    if (length) memcpy(RTA_DATA(attribute), data, length);
    message->nlmsg_len = NLMSG_ALIGN(message->nlmsg_len) + RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static void end(struct nlmsghdr *message, struct rtattr *nest) {
    nest->rta_len = (char *)message + message->nlmsg_len - (char *)nest;
}

static void veth(int netlink, int number, int pid) {
    char buffer[1024] = {0}, name[16];
    struct nlmsghdr *message = (void *)buffer;
    message->nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg));
    message->nlmsg_type = RTM_NEWLINK;
    message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    snprintf(name, sizeof name, "floor%d", number);
    add(message, IFLA_IFNAME, name, strlen(name) + 1);
    struct rtattr *info = add(message, IFLA_LINKINFO, NULL, 0);
    add(message, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = add(message, IFLA_INFO_DATA, NULL, 0);
    struct ifinfomsg none = {0};
    struct rtattr *peer = add(message, VETH_INFO_PEER, &none, sizeof none);
    add(message, IFLA_IFNAME, "eth0", 5);
    add(message, IFLA_NET_NS_PID, &pid, sizeof pid);
    end(message, peer);
    end(message, data);
    end(message, info);
    must(send(netlink, buffer, message->nlmsg_len, 0) < 0, "send");
    char answer[4096];
    must(recv(netlink, answer, sizeof answer, 0) < 0, "recv");
    struct nlmsgerr *result = NLMSG_DATA((struct nlmsghdr *)answer);
    must(((struct nlmsghdr *)answer)->nlmsg_type == NLMSG_ERROR && result->error, "veth");
}

static void inside(const char *root, const char *work, int number, int ready, int go) {
    char options[1024], at[256], upper[300], scratch[300];
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    snprintf(at, sizeof at, "%s/%d", work, number);
    snprintf(upper, sizeof upper, "%s/u", at);
    snprintf(scratch, sizeof scratch, "%s/w", at);
    mkdir(at, 0755), mkdir(upper, 0755), mkdir(scratch, 0755);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", root, upper, scratch);
    must(mount("overlay", at, "overlay", 0, options), "overlay");
    must(chdir(at), "chdir");
    mkdir("proc", 0755), mkdir("dev", 0755), mkdir("sys", 0755);
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "size=64k"), "dev");
    must(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "sys");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    char byte;
    (void)!read(ready, &byte, 1);
    fcntl(go, F_SETFD, FD_CLOEXEC); /* its end says that the program runs */
    execl("/bin/sleep", "sleep", "1000", NULL);
    must(1, "exec");
}

int main(int count, char **words) {
    must(count < 3, "usage: floor ROOT COUNT");
    int wanted = atoi(words[2]);
    char work[] = "/tmp/floor-XXXXXX";
    must(!mkdtemp(work), "mkdtemp");
    must(unshare(CLONE_NEWNET), "unshare"); /* the host's ends of the pairs go with this process */
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    pid_t *pids = calloc(wanted, sizeof *pids);
    struct timespec start, stop;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int number = 0; number < wanted; number++) {
        int ready[2], go[2];
        must(pipe(ready) || pipe(go), "pipe");
        int flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP | SIGCHLD;
        pids[number] = syscall(SYS_clone, flags, 0, 0, 0, 0);
        must(pids[number] < 0, "clone");
        if (pids[number] == 0) {
            close(ready[1]), close(go[0]);
            inside(words[1], work, number, ready[0], go[1]);
        }
        close(ready[0]), close(go[1]);
        veth(netlink, number, pids[number]);
        (void)!write(ready[1], "x", 1);
        char byte;
        (void)!read(go[0], &byte, 1);
        close(ready[1]), close(go[0]);
    }
    clock_gettime(CLOCK_MONOTONIC, &stop);
    printf("%.1f\n", (stop.tv_sec - start.tv_sec) * 1e3 + (stop.tv_nsec - start.tv_nsec) / 1e6);
    for (int number = 0; number < wanted; number++) kill(pids[number], SIGKILL);
    while (wait(NULL) > 0) {}
    char command[300];
    snprintf(command, sizeof command, "rm -rf %s", work);
    return system(command);
}
