/* record.h - the values of the store's keys: Patroni's JSON, byte for byte, and baton's own.
 *
 * Decoders accept what any Patroni from 3.0 on writes; unknown fields are ignored, a missing or
 * damaged key leaves its part of struct cluster at zero and adds a sentence to `problem`. Encoders
 * write compact JSON with Patroni's field names and order. Encoded texts are new (mem_free). Layout
 * and rules: research, patroni.md, section 1. */
#pragma once

#include "model/model.h"

/* The release of Patroni whose layout, routes and bodies are spoken; its nodes judge a member by
 * it. */
#define RECORD_PATRONI_LEVEL "4.1.4"

/* Keys relative to the prefix. */
#define KEY_INITIALIZE "initialize"
#define KEY_CONFIG "config"
#define KEY_LEADER "leader"
#define KEY_MEMBERS "members/"
#define KEY_STATUS "status"
#define KEY_SYNC "sync"
#define KEY_FAILOVER "failover"
#define KEY_HISTORY "history"
#define KEY_FAILSAFE "failsafe"
#define KEY_LEASE "baton/lease"
#define KEY_HISTORY_OF "baton/history" /* the timeline whose history that is */

/* One key and value of the store, as dcs_entry has it. */
struct record_entry {
    const char *key;
    const char *value;
    int64_t revision;
};

/* Decode all keys below the prefix at REVISION. A damaged key sync must not be taken for "nobody
 * waits, anybody may take over": it names its leader, or RECORD_SYNC_UNKNOWN where that cannot be
 * read, and no voters, so that nobody but that leader can be primary. The settings part is left at
 * CLUSTER_SETTINGS_DEFAULT (config decodes the config key). Of more members than MEMBERS_MAX the
 * first by name are kept, and whoever leads. PROBLEM (size bytes) receives the first complaint, or
 * "". */
void record_cluster_decode(
    const struct record_entry *entries, unsigned count, int64_t revision, struct cluster *ret,
    char *problem, size_t size);

/* members/NAME. EXTRA_TAGS_JSON: further tags as a JSON object, may be NULL. */
char *record_member_encode(const struct member *member, const char *extra_tags_json);
MUST_CHECK int record_member_decode(
    const char *name, const char *json, struct member *ret, struct err *e);

/* baton/lease:
 *
 * {"holder":"n1","released_to":"","node":"9f..","term":7,"seq":42,"length_ms":30000,
 * "timeline":6,"floor":"5/0/3000148","failsafe":["n1","n2","n3"]}; the last only with members. */
char *record_lease_encode(const struct lease_record *lease);
MUST_CHECK int record_lease_decode(const char *json, struct lease_record *ret, struct err *e);

/* sync: {"leader":"n1","quorum":1,"sync_standby":"n2,n3"}; without standbys it is null. A Patroni
 * before 4.0 writes no quorum: 0. A leader of null and no standbys say that nobody waits, as if the
 * key did not exist. Voters come back sorted and each once (an answer must not count twice); more
 * than MEMBERS_MAX of them are damage, and so is an empty value. */
#define RECORD_SYNC_UNKNOWN "?/" /* nobody's name: those have no slash */
char *record_sync_encode(const struct sync_record *sync);
MUST_CHECK int record_sync_decode(const char *json, struct sync_record *ret, struct err *e);

/* failsafe: {"n1":"http://10.0.0.1:8008/patroni",...}, the members of CLUSTER that have an
 * address. */
char *record_failsafe_encode(const struct cluster *cluster);

/* Body of POST /failsafe: {"name":..,"conn_url":..,"api_url":..,"slots":{}}, as Patroni sends
 * it, and "node", "term", "seq" and "length_ms" of baton's lease; a Patroni node has none: term
 * 0. And "asked": the member that the asker takes the receiver for; "" is not said. */
struct failsafe_ask {
    char name[MEMBER_NAME_SIZE];
    char asked[MEMBER_NAME_SIZE];
    char node[NODE_ID_SIZE];
    uint64_t term;
    uint64_t seq;
    int64_t length_ms;
};
char *record_ask_encode(const struct failsafe_ask *ask, const char *conn_url, const char *api_url);
MUST_CHECK int record_ask_decode(const char *json, struct failsafe_ask *ret, struct err *e);

/* status: {"optime":123,"slots":{...}}; slots may be left out (SLOT_COUNT 0). */
struct record_slot {
    const char *name;
    uint64_t lsn;
};
char *record_status_encode(uint64_t optime, const struct record_slot *slots, unsigned slot_count);

/* failover: {"leader":..,"member":..,"scheduled_at":..}; "{}" for none. Times outside 1970 to 9999
 * are refused. */
char *record_request_encode(const struct failover_request *request);
MUST_CHECK int record_request_decode(const char *json, struct failover_request *ret, struct err *e);

/* history: [[timeline,lsn,"reason","timestamp","new leader"],...]; "[]" on timeline 1.
 * record_history_append writes the switches of HISTORY: as OLD (may be NULL or damaged) has them
 * where timeline and LSN agree, else anew, the newest with REASON, REAL_MS and NEW_LEADER, others
 * (nobody noted them) with an empty reason only. Rows of OLD that are not part of HISTORY are
 * dropped, but for those that HISTORY is too full to hold. At most the last MAX rows are kept (0:
 * all). */
char *record_history_append(
    const char *old, const struct timeline_history *history, const char *reason, int64_t real_ms,
    const char *new_leader, unsigned max);
MUST_CHECK int record_history_decode(const char *json, struct timeline_history *ret, struct err *e);

/* What one agent tells another (GET /patroni): Patroni's status fields, and a "baton" object:
 * {"dcs_ok":true,"term":7,"candidate":true,"down_ms":0,"position":"5/0/3000148","problem":"",
 *  "timeline":5,"history":[[4,50331800]],"age_ms":12,"suspected":0,"promised":0,"bound":0,
 *  "vote_term":7,"vote_seq":42,"tail_for":"n2","fetching":true}; the timeline is the history's, a
 *  vote is there only when it was given, the last two when they apply. */
struct peer_report {
    enum member_state state;
    enum member_role role;
    uint64_t system_id;
    uint32_t server_version;
    struct position position; /* flushed; the larger of received and replayed; or on disk */
    uint64_t received_lsn;
    uint64_t replayed_lsn;
    bool is_streaming;
    bool is_paused;
    bool is_watchdog_failed; /* Patroni's watchdog_failed: it is required, and does not work */
    struct member_tags tags;
    bool has_baton; /* the fields below were there */
    enum trouble trouble;
    bool dcs_ok;
    uint64_t term;           /* the highest of a lease that it has ever seen */
    uint32_t given_timeline; /* the newest that it has seen a lease give out */
    bool is_outgrown;        /* its replay has stopped until it is restarted */
    bool is_partial;         /* standby: it has more log than its position tells: it replays */
    bool is_candidate;       /* its own opinion: could it be promoted now? */
    int64_t age_ms;          /* of `position`, when the report was made */
    int64_t down_ms;         /* how long its server has not been running; 0: running */
    uint64_t suspected;      /* term of the lease whose holder it cannot hear any more; 0: it can */
    /* It has promised never to confirm anything to a holder of an earlier term than this one, and
     * its position is final; 0: no promise is in force. */
    uint64_t promised;
    uint64_t
        bound; /* the same, whatever its server does: it follows no holder of an earlier term */
    /* Failsafe mode: it does not help a holder any more to keep the lease of this term and this
     * seq, or an earlier one, in force; 0: it has not said so. */
    uint64_t vote_term;
    uint64_t vote_seq;
    char tail_for[MEMBER_NAME_SIZE]; /* its server has died; whom it offers the end of the log */
    bool is_fetching;                /* it is getting the end of a log */
    struct timeline_history history;
};

/* Whose status was asked for. One that says another scope or another name is refused
 * (ERR_CONFLICT): an address may lead to another agent than the member that it was recorded for
 * (copied settings, a service name, a number that was given anew), and what that one has and has
 * promised would count twice. NULL: whosever. */
struct record_sender {
    const char *scope;
    const char *name;
};
MUST_CHECK int record_report_decode(
    const char *json, const struct record_sender *sender, struct peer_report *ret, struct err *e);

/* Everything in the status JSON of GET /patroni and of the health routes: `peer`, which
 * record_report_decode gives back, and what only people and exporters read. Texts are borrowed;
 * NULL or 0 leaves a field out. */
struct record_report {
    struct peer_report peer;
    int64_t postmaster_start_real_ms;
    int64_t replayed_real_ms; /* commit time of the last replayed transaction */
    unsigned standby_count;   /* who streams from this server directly, by application_name */
    const char *standbys[MEMBERS_MAX];
    bool is_replay_paused;
    bool is_in_archive_recovery; /* replication_state, unless peer.is_streaming */
    bool is_cluster_unlocked;    /* no leader, or the store cannot be read */
    bool is_failsafe_active;
    bool is_sync_standby;
    bool is_quorum_standby;
    bool pending_restart;
    int64_t dcs_last_seen_real_s;
    const char *extra_tags_json; /* further tags as a JSON object */
    const char *version;         /* the Patroni level spoken */
    const char *scope;
    const char *name;
    const char *problem; /* baton's own: why this member is not running */
    uint8_t guard_means; /* model/guard_message.h; 0: there is no guard, or none that tells */
    uint8_t guard_powers;
    uint8_t watchdog;
    const char *fence; /* baton's own: state of the fence in the server; "" unknown */
};

/* The status JSON, spaced as Patroni's REST bodies are. As there, what comes from the server
 * (server_version, xlog, timeline, replication_state) is left out unless it is running and its
 * position is known: a Patroni node would wait for a stopped one in an election. baton.position is
 * always written, and wins when reading. */
char *record_report_encode(const struct record_report *report);
