package guest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// awake is how long a guest may take from its start until its agent or its port
// answers.
const awake = 3 * time.Minute

// CheckAlive waits for a sign of life of a guest that was started, as a restore does.
func (b *Runbook) CheckAlive(ctx context.Context, cluster string, vmid int, task *operation.Task) (operation.Result, error) {
	c, err := b.Cluster(cluster)
	if err != nil {
		return operation.Result{}, err
	}
	return b.checkGuest(ctx, c, args{Cluster: cluster, VMID: vmid}, task)
}

// checkGuest waits for a sign of life: of the guest agent, or of the configured
// port where the guest is plugged in. What could not be looked at is said.
func (b *Runbook) checkGuest(ctx context.Context, c *proxmox.Client, a args, task *operation.Task) (operation.Result, error) {
	end := b.now().Add(b.awake)
	for {
		r, again, err := b.alive(ctx, c, a)
		if !again || err != nil && !errors.Is(err, errNotYet) {
			return r, err
		}
		if !b.now().Before(end) {
			return operation.Result{}, fmt.Errorf("%w within %s", err, b.awake)
		}
		task.Progress(operation.Progress{Lines: []string{err.Error()}})
		if err := step.Pause(ctx, min(time.Second, b.awake/20)); err != nil {
			return operation.Result{}, err
		}
	}
}

var errNotYet = errors.New("no sign of life yet")

func (b *Runbook) alive(ctx context.Context, c *proxmox.Client, a args) (r operation.Result, again bool, err error) {
	g, config, err := c.Current(ctx, a.VMID)
	switch {
	case err != nil:
		return r, false, err
	case !g.Running:
		return r, false, fmt.Errorf("guest %d does not run: it has stopped again", a.VMID)
	}
	plugged := slices.ContainsFunc(config.Cards(), func(key string) bool { return !proxmox.LinkDown(config[key]) })
	unchecked := ""
	if port := b.checkPort(a); port > 0 && plugged {
		text, err := b.knock(ctx, c, a.VMID, port)
		if err == nil {
			return operation.Result{Text: text}, false, nil
		}
		if !errors.Is(err, errNoAddress) {
			return r, true, err
		}
		unchecked = fmt.Sprintf("; port %d was not tried: %s", port, err)
	} else if port > 0 {
		unchecked = fmt.Sprintf("; port %d is tried once its network is plugged in", port)
	}
	if g.Kind == proxmox.LXC {
		return operation.Result{Status: backup.Warning, Text: "the container runs; what is in it was not checked" + unchecked}, false, nil
	}
	err = c.Ping(ctx, a.VMID)
	switch {
	case err == nil && unchecked != "" && plugged:
		return operation.Result{Status: backup.Warning, Text: "the guest agent answers" + unchecked}, false, nil
	case err == nil:
		return operation.Result{Text: "the guest agent answers" + unchecked}, false, nil
	case proxmox.NoAgent(err):
		return operation.Result{Status: backup.Warning, Text: "the VM runs; what is in it was not checked (" + err.Error() + ")" + unchecked}, false, nil
	case proxmox.IsUnreachable(err) || proxmox.IsNodeDown(err):
		return r, false, err
	}
	return r, true, fmt.Errorf("%w: %w", errNotYet, err)
}

// checkPort is the port that is configured for the guest that this one stands for.
func (b *Runbook) checkPort(a args) int {
	vmid := a.VMID
	if a.Restore != nil {
		vmid = a.Restore.Query.Guest
	}
	if a.Swap != nil && a.Swap.Policy > 0 {
		vmid = a.Swap.Policy
	}
	return b.config.Guests[a.Cluster+"/"+strconv.Itoa(vmid)].CheckPort
}

var errNoAddress = errors.New("its address is not known")

// knock tries the port at each address of the guest.
func (b *Runbook) knock(ctx context.Context, c *proxmox.Client, vmid, port int) (string, error) {
	addresses, err := c.Addresses(ctx, vmid)
	if err != nil && !proxmox.NoAgent(err) && !strings.Contains(err.Error(), "is not running") {
		return "", fmt.Errorf("%w (%w)", errNoAddress, err)
	}
	if len(addresses) == 0 {
		return "", errNoAddress
	}
	var failed error
	for _, ip := range addresses {
		at := net.JoinHostPort(ip, strconv.Itoa(port))
		conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", at)
		if err == nil {
			_ = conn.Close() // that it opened is the answer
			return "port " + strconv.Itoa(port) + " answers at " + ip, nil
		}
		failed = errors.Join(failed, err)
	}
	return "", fmt.Errorf("%w: port %d: %w", errNotYet, port, failed)
}
