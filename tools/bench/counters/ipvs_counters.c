// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Give the services and real servers of IPVS the counters of a director that has run for months.
 *
 * No interface of the kernel sets them, and no traffic of a test reaches such values. `services` and
 * `marks` are the addresses of ip_vs_svc_table and ip_vs_svc_fwm_table (/proc/kallsyms). Totals go below
 * zero into kstats0, the values at the last --zero, which every reader subtracts; rates last while
 * net.ipv4.vs.run_estimation is 0. Load it into a kernel that does nothing else: it takes no lock.
 */
#include <linux/module.h>
#include <net/ip_vs.h>

#define BUCKETS 256 /* of both tables: IP_VS_SVC_TAB_SIZE in ip_vs_ctl.c */

static unsigned long services, marks;
module_param(services, ulong, 0);
module_param(marks, ulong, 0);

static u64 number;

static void count(struct ip_vs_stats *stats)
{
	u64 conns = 1000 + number++ * 7919 % 40000000;

	stats->kstats0.conns = -conns;
	stats->kstats0.inpkts = -(conns * 9);
	stats->kstats0.outpkts = -(conns * 11);
	stats->kstats0.inbytes = -(conns * 1300);
	stats->kstats0.outbytes = -(conns * 15000);
	stats->est.cps = (conns % 400) << 10;
	stats->est.inpps = (conns % 4000) << 10;
	stats->est.outpps = (conns % 5000) << 10;
	stats->est.inbps = (conns % 600000) << 5;
	stats->est.outbps = (conns % 7000000) << 5;
}

static void count_service(struct ip_vs_service *service)
{
	struct ip_vs_dest *dest;

	count(&service->stats);
	list_for_each_entry(dest, &service->destinations, n_list) {
		count(&dest->stats);
		atomic_set(&dest->activeconns, number * 31 % 3000);
#ifdef TOTALCONNS
		atomic_set(&dest->totalconns, number * 31 % 3000 + number * 17 % 900);
#else
		atomic_set(&dest->inactconns, number * 17 % 900);
#endif
		atomic_set(&dest->persistconns, number * 13 % 90);
	}
}

static int __init counters_init(void)
{
	struct hlist_head *by_address = (struct hlist_head *)services;
	struct hlist_head *by_mark = (struct hlist_head *)marks;
	struct ip_vs_service *service;
	int i;

	if (!services || !marks)
		return -EINVAL;
	for (i = 0; i < BUCKETS; i++) {
		hlist_for_each_entry(service, &by_address[i], s_list)
			count_service(service);
		hlist_for_each_entry(service, &by_mark[i], f_list)
			count_service(service);
	}
	return 0;
}

static void __exit counters_exit(void)
{
}

module_init(counters_init);
module_exit(counters_exit);
MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("Counters for measurements");
