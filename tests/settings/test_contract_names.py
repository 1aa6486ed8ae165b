"""Every attribute that the administration protocol sets is declared, in the context where it is set.

The lists are the protocol's contract, context by context; names and passwords of objects are rows of the directory, not
settings, and are left out. A context may have more than the contract: ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mailstead.settings import declarations
from mailstead.settings.declaration import Context
from mailstead.settings.declarations import ACCOUNT, DOMAIN, DOMAIN_CONTEXTS, OBJECT_KINDS, SERVICE_CONTEXTS

SERVICES = {
    "server": """
        primaryDomain caBundlePath sslRandomFile enableIOSynchronization defaultTimezone defaultLanguage autodetectLanguage
        allowedLanguages serverName pushNotificationGeneratorPath maxIndexingThreads sendStatisticsEmail
        postmasterStatisticsEmailAddress enableStorageStatistics brandingName enableTnefCommand allowAliasLogins
        pop3ExclusiveLock enableSRS srsSecretKey searchIndexOptimizeThreshold searchIndexVacuumAbsoluteThreshold
        searchIndexVacuumRelativeThreshold searchIndexTokenizer enableConversationIndexDefault indexAutoRescheduleTimeout
        serverSecretKey emailSampleCollection emailSampleCollectionPath emailSampleRetentionPeriod templatesPath""",
    "autodiscovery": "enableIMAPAutodiscovery enablePOP3Autodiscovery enableSMTPAutodiscovery enableWebdavAutodiscovery",
    "autodiscoveryUrls": """
        httpAutodiscoveryUrl imapAutodiscoveryUrl pop3AutodiscoveryUrl smtpAutodiscoveryUrl webdavAutodiscoveryUrl""",
    "callog": "logLevel logType logHost",
    "joblog": "logLevel logType logHost",
    "mailboxApi": "logLevel logType logHost",
    "security": "logLevel logType logHost",
    "srvlog": "logLevel logType logHost",
    "cli": "maxAuthCommands logLevel logType logHost maxConnThreads minConnThreads maxErrors maxAuthErrors",
    "cluster": "runMode clusterKey",
    "dnr": "timeout retries cacheSize logLevel logType logHost",
    "filters": "logLevel logType logHost",
    "ftpBackup": "messagesTarEnabled nameEncoding logLevel logType logHost maxConnThreads minConnThreads maxErrors maxAuthErrors",
    "imap": """
        allowStartTLS secureConnAuthTypes plainConnAuthTypes secureConnAllowLogin plainConnAllowLogin userdbConnectorType
        userdbConnectorName greetingsText imapIdEnabled imapShowAllFolders logLevel logType logHost maxConnThreads
        minConnThreads maxErrors maxAuthErrors""",
    "imapProxy": """
        allowStartTLS userdbConnectorType userdbConnectorName authenticateOnProxy greetingsText imapIdEnabled logLevel logType
        logHost maxConnThreads minConnThreads maxErrors maxAuthErrors""",
    "initialAccountSettings": """
        weekStartDay workingDays startWorkingTime endWorkingTime dateFormat timeFormat calendarType autoAddRecipients""",
    "log": "enableSecurityLog logLevel logType logHost",
    "mobility": "enableMobileWebmail enableActiveSync",
    "pop3": """
        allowStartTLS secureConnAuthTypes plainConnAuthTypes secureConnAllowLogin plainConnAllowLogin userdbConnectorType
        userdbConnectorName greetingsText logLevel logType logHost maxConnThreads minConnThreads maxErrors maxAuthErrors""",
    "pop3Proxy": """
        allowStartTLS userdbConnectorType userdbConnectorName authenticateOnProxy greetingsText logLevel logType logHost
        maxConnThreads minConnThreads maxErrors maxAuthErrors""",
    "processing": """
        maxSchedInterval schedInterval maxRetryCount queuePath queueEntryCount deliveryThreads filteringThreads procQueueSize
        messagesPerSecond disableInterval greylistingCache logLevel logType logHost""",
    "reporting": """
        SNMPEnable SNMPSentTrapsToAllManagers SNMPCommunity DomainEnable DomainObjectEnable reportingInterval logLevel logType
        logHost""",
    "rpop": "logLevel logType logHost maxConnThreads minConnThreads",
    "smtpIncoming": """
        maxReceivedHeaders userdbConnectorType userdbConnectorName enableSmtpRouting logLevel logType logHost maxConnThreads
        minConnThreads maxErrors maxAuthErrors""",
    "smtpOutgoing": "enableIPv6 logLevel logType logHost maxConnThreads minConnThreads",
    "userDb": "maxThreads defaultOAuthConnector logLevel logType logHost",
    "webadmin": """
        path sessionIdleTimeout sessionActivityTimeout allowKeepAlive allowLargeIncomingData httpHeadersMaxSize
        httpBodyMaxSize httpServerHeaderEnable httpHstsHeaderValue uploadMaxSize accountSecurityAlternativeEmailAddressEnabled
        accountSecurityPhoneNumberEnabled accountSecuritySmsConnector accountSecurityMandatory accountSecurityUpdateInterval
        twoFactorAuthEnabled twoFactorAuthCommunicationMethods twoFactorAuthEmailFileName twoFactorAuthSmsFileName logLevel
        logType logHost maxConnThreads minConnThreads maxErrors maxAuthErrors""",
    "webmail": """
        path sessionIdleTimeout sessionActivityTimeout allowKeepAlive allowLargeIncomingData httpHeadersMaxSize
        httpBodyMaxSize httpServerHeaderEnable httpHstsHeaderValue uploadMaxSize showDomainList userdbConnectorType
        userdbConnectorName enableMobileWebmail enableActiveSync enableIcalCalendar enableIcalFreebusy enableWebDAVCardDAV
        enableWebDAVCalDAV userInterfaceType enablePasswordRecovery enableUsernameRecovery allowSPNEGOAuth enableLoginCaptcha
        showCaptchaAfterFailedLoginsCount enableZoomConnector enableTeamsConnector enableOfficeDocumentsPreview
        batchAsyncThreshold accessControlAllowOrigin logLevel logType logHost maxConnThreads minConnThreads maxErrors
        maxAuthErrors""",
    "webmailProxy": """
        path allowKeepAlive allowLargeIncomingData httpHeadersMaxSize httpBodyMaxSize httpServerHeaderEnable
        httpHstsHeaderValue userdbConnectorType userdbConnectorName requestsQueueMaxSize authenticateOnProxy
        enableMobileWebmail userInterfaceType httpBindBackend enablePasswordRecovery enableUsernameRecovery allowSPNEGOAuth
        enableLoginCaptcha showCaptchaAfterFailedLoginsCount accessControlAllowOrigin logLevel logType logHost maxConnThreads
        minConnThreads maxErrors maxAuthErrors""",
    "cliAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "smtpIncomingAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "pop3AccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "imapAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "webmailAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "webadminAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "ftpBackupAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "pop3ProxyAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "imapProxyAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "webmailProxyAccessControl": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "pop3ProxyConnectionData": "rwTimeout maxConnections sslEnable localInterface",
    "imapProxyConnectionData": "rwTimeout maxConnections sslEnable localInterface",
    "webmailProxyConnectionData": "rwTimeout maxConnections sslEnable localInterface",
    "smtpIncomingMappingData": "userMap mappingHost mappingPort",
    "pop3ProxyMappingData": "userMap mappingHost mappingPort",
    "imapProxyMappingData": "userMap mappingHost mappingPort",
    "webmailProxyMappingData": "userMap mappingHost mappingPort",
}

CONTEXTS = {
    "DOMAIN_OWN": """
        assignedIp services showWebmailLogin createUsersFromLdap publishRcptContacts enableAppender catchAllType
        catchAllAccountName catchAllFolderName enableLDAPSync ldapSyncConnectorName customerReference defaultTimezone
        defaultLanguage disposableMetadataQuotaThreshold brandingName enableGravatar enablePushNotificationGenerator
        postmasterAccount""",
    "DOMAIN_LOCATIONS": "domainLocation wmFilterTemplatePath domainObjectsLocation parentDomain",
    "ADMIN_LIMITS": """
        maxAccounts maxMaillists maxGroups maxFolderRecipients maxAccountClasses maxAccountMessageSizeQuota
        maxAccountMessageCountQuota maxAccountFolderCountQuota maxAccountFolderMessageSizeQuota
        maxAccountFolderMessageCountQuota maxMaillistMessageSizeQuota maxMaillistMessageCountQuota maxMaillistFolderCountQuota
        maxMaillistFolderMessageSizeQuota maxMaillistFolderMessageCountQuota maxPublicFolderMessageSizeQuota
        maxPublicFolderMessageCountQuota maxPublicFolderFolderCountQuota maxPublicFolderFolderMessageSizeQuota
        maxPublicFolderFolderMessageCountQuota availableServices maxSubdomains subdomainStorageLocation
        subdomainObjectStorageLocation purgeConstraint purgeFolders maxPremiumMailboxCount maxSharingMailboxCount
        maxPersonalOrganizerMailboxCount maxOutlookConnectorMailboxCount maxActiveSyncMailboxCount maxIAMailboxCount""",
    'DOMAIN_CONTEXTS["migrationData"]': """
        enable createPremiumAccounts enableContinuousMigration remoteImapHost remoteImapPort remoteSmtpHost remoteSmtpPort
        defaultAccountClassName enableMigrationCommand migrationCommand enableDebugLogging""",
    'DOMAIN_CONTEXTS["initialAccountSettings"]': """
        weekStartDay workingDays startWorkingTime endWorkingTime dateFormat timeFormat calendarType autoAddRecipients""",
    'DOMAIN_CONTEXTS["domainAutodiscoveryUrls"]': """
        httpAutodiscoveryUrl imapAutodiscoveryUrl pop3AutodiscoveryUrl smtpAutodiscoveryUrl webdavAutodiscoveryUrl""",
    'DOMAIN_CONTEXTS["publicFolder"]': "name",
    'DOMAIN_CONTEXTS["publicFolderQuotas"]': "mboxCount totalMessageCount totalMessageSize messageCount messageSize",
    'DOMAIN_CONTEXTS["domainFilters"]': "propagateFilterTemplate",
    "LIMITS_CONTEXT": """
        sentMessagesCount sentRecipientsCount sentMessagesSize sentMessagesInterval webmailAttSize webmailAttCount
        webmailMessageSize temporaryAliasesCount temporaryAliasesInterval htmlFilterLevel archivingPolicy
        sentOverquotaFileName sentOverquotaEmailAddress services pop3ConnectionCount imapConnectionCount webmailRCPTCount
        webmailSessionCount rpopConnectionCount rpopRetrievalInterval enableActiveSync activeSyncOptions
        enableOutlookConnector enableConversationIndex enableWebPersonalOrganizer enableSharing welcomeMessageEnabled
        welcomeMessageFileName allowIdentityConfirmation editableContactInfo enableAutoMigration enableCalAvailabilitySharing
        localizedImapFolderNames enableZoom enableTeams passwordEnforcementEnabled minimumPasswordLength maximumPasswordLength
        requiredPasswordCharacters passExpirationEnabled passExpirationInterval passExpirationType passExpirationDate
        passRenewalInterval passExpirationWarningEnabled passExpirationWarningInterval passExpirationWarningFileName
        passExpirationWarningSentDaily passHistorySize passUnchangeable passwordRecoveryMethods usernameRecoveryMethods
        passwordRecoveryEmailFileName passwordRecoverySmsFileName usernameRecoveryEmailFileName usernameRecoverySmsFileName
        accountSecurityAlternativeEmailAddressEnabled accountSecurityPhoneNumberEnabled accountSecuritySmsConnector
        accountSecurityMandatory accountSecurityUpdateInterval twoFactorAuthEnabled twoFactorAuthCommunicationMethods
        twoFactorAuthEmailFileName twoFactorAuthSmsFileName sentRecipientsExceptions""",
    "QUOTAS_CONTEXT": """
        mboxCount totalMessageCount totalMessageSize messageCount messageSize quotaLimitThreshold
        quotaLimitNotificationInterval quotaLimitNotificationFileName quotaLimitNotificationEnabled
        quotaLimitPushNotificationEnabled quotaSendMessageThreshold filteredEmailSizeQuota filteredEmailCountQuota
        autopurgeAgeLimit autopurgeFolders""",
    "RESTRICTIONS_CONTEXT": """
        enableSendRestrictions sendPolicy enableRecvRestrictions recvPolicy sendPolicyExceptions recvPolicyExceptions""",
    "ADVERTISING_CONTEXT": "enableTopBanner enableRightBanner enableBottomBanner",
    "ACCOUNT_DATA": "accountType twoFactorConfigured customerReference publishContactInfo filteringOption",
    "CONTACT_INFO": """
        firstName lastName nickName personalEmail businessEmail phone mobilePhone homePhone businessPhone homeAddress
        businessAddress personalVoIPAddress birthday spouseName businessVoIPAddress company department office position
        profession managerName assistantName website yahooMessengerId googleTalkId liveMessengerAddress icqNumber
        aolScreenName skypeId title middleName suffix businessFax""",
    "WEBMAIL_DATA": """
        skin pageSize saveToSent deleteToTrash hideDeletedMessages autoRefreshInterval confirmMailDelete confirmFolderEmpty
        htmlFilterLevel language usePublicContacts useRcptContacts requestReadReceipts sendReadReceipts
        requestDeliveryReceipts autoAddRecipients enableConversationView timezone weekStartDay purgeTrashMessageSelector
        purgeSpamMessageSelector workingDays startWorkingTime endWorkingTime dateFormat timeFormat secretQuestion calendarType
        secretAnswer""",
    "LIST_LIMITS": """
        sentMessagesCount sentRecipientsCount sentMessagesSize sentMessagesInterval sentOverquotaFileName
        sentOverquotaEmailAddress pop3ConnectionCount imapConnectionCount webmailRCPTCount webmailSessionCount webmailAttSize
        webmailAttCount webmailMessageSize overQuotaThreshold quotaSendMessageThreshold archivingPolicy
        localizedImapFolderNames passExpirationType passExpirationDate sentRecipientsExceptions""",
    "LIST_QUOTAS": "mboxCount totalMessageCount totalMessageSize messageCount messageSize",
    "LIST_WEBMAIL_DATA": """
        skin pageSize saveToSent deleteToTrash hideDeletedMessages autoRefreshInterval confirmMailDelete confirmFolderEmpty
        htmlFilterLevel language timezone""",
    "FOLDER_RCPT_LIMITS": "",
    "LISTENER": """
        enable maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval
        peerMaxIntervalConnections idleTimeout sslEnable proxyProtocol proxyProtocolTimeout nonClusterListener listenerDomain
        allowedVersions maxChainDepth cipherSuite preferServerCipherSuiteOrder useEphemeralKey certFile caFile dhParamFile
        requestClientAuth""",
    "LISTENER_OWN": """
        enable maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval
        peerMaxIntervalConnections idleTimeout sslEnable proxyProtocol proxyProtocolTimeout nonClusterListener listenerDomain""",
    "SSL_CONTROL": """
        allowedVersions maxChainDepth cipherSuite preferServerCipherSuiteOrder useEphemeralKey certFile caFile dhParamFile
        requestClientAuth""",
    "ACCESS_LIMITS": """
        maxConnections timeInterval maxIntervalConnections peerMaxConnections peerTimeInterval peerMaxIntervalConnections""",
    "SMS_CONNECTOR_AUTH": "type username password token",
    "HOST_NAME_RESOLVER_OWN": "host domain sslEnable",
}

KINDS = {
    "nameserver": "priority address timeout retries",
    "logRule": "priority hostname module logLevel fileName fileSize fileTime fileCount rotatePeriod type",
    "socketFilter": "name address protocolFile idleTimeout actionOnMatch maxConnections",
    "scriptFilter": "name type file",
    "integratedFilter": "name type command",
    "activeFilter": "priority filterName filterType applyOn",
    "accountActiveFilter": "priority filterName filterType filteringOn",
    "ldapConnector": """
        name bindDN bindPass axigenHostField ldapURI1 ldapURI2 ldapURI3 ldapURI4 ldapURI5 synchronizationDirection
        synchronizationConflictResolution serverType timeout accountBaseDN groupBaseDN useCustomSchema customSchemaFile
        pollingInterval transientErrorRetryInterval clusteredSetup searchDomainAliases ignoreLDAPDeletes replicaId""",
    "oauthConnector": """
        name mode clientId clientSecret autoConfigUri jwksUri authzUri tokenUri introspectUri usernameField usernamePrefix
        clientScopes defaultTokenExpiry connectTimeout requestTimeout endpointsBaseUrl redirectBaseUrl""",
    "smsConnector": "name url method contentType toParamName bodyParamName fromParamName",
    "staticParam": "name value",
    "usermap": "name type userdbConnectorType userdbConnectorName localFile",
    "urlRedirect": "address port host auto",
    "hostNameResolver": """
        host domain sslEnable allowedVersions maxChainDepth cipherSuite preferServerCipherSuiteOrder useEphemeralKey certFile
        caFile dhParamFile requestClientAuth""",
    "preset": "name",
    "presetFilter": "name enabled",
    "signature": "name type",
    "snmpTrapDestination": "address",
    "clusterAddress": "address",
    "subdomainMessageStorageLocation": "path",
    "reservedRcpt": "rcpt",
    "messagesLocation": "path",
    "delegate": "delegateName calendar tasks freebusy",
    "securityMethod": "methodId type target",
    "blacklist": "pattern",
    "whitelist": "pattern",
}

LISTENING = (
    "cli", "smtpIncoming", "pop3", "imap", "webmail", "webadmin", "ftpBackup", "log", "reporting", "pop3Proxy", "imapProxy",
    "webmailProxy",
)  # fmt: skip


def _names(context: Context) -> set[str]:
    return {setting.name for setting in context.settings}


def _context(name: str) -> Context:
    family, _, key = name.partition("[")
    found: Context | Mapping[str, Context] = getattr(declarations, family)
    return found if isinstance(found, Context) else found[key.strip('"]')]


@pytest.mark.parametrize("name", SERVICES)
def test_attributes_of_services(name: str) -> None:
    context = SERVICE_CONTEXTS[name]
    assert set(SERVICES[name].split()) - _names(context) == set()
    assert (context.name, context.scope) == (name, "service")


@pytest.mark.parametrize("name", CONTEXTS)
def test_attributes_of_domains_accounts_and_lists(name: str) -> None:
    assert set(CONTEXTS[name].split()) - _names(_context(name)) == set()


@pytest.mark.parametrize("name", KINDS)
def test_attributes_of_named_objects(name: str) -> None:
    kind = OBJECT_KINDS[name]
    assert kind.name == name
    assert set(KINDS[name].split()) - _names(kind.context) == set()
    assert kind.context.setting(kind.key).name == kind.key


def test_contact_information_has_the_33_fields_of_the_contract() -> None:
    assert len(CONTEXTS["CONTACT_INFO"].split()) == len(declarations.CONTACT_INFO.settings) == 33


def test_what_is_stored_together_is_what_is_shown_apart() -> None:
    shown = [setting.name for part in declarations.ACCOUNT_PARTS for setting in part.settings]
    assert shown == [setting.name for setting in ACCOUNT.settings]
    parts = (declarations.DOMAIN_OWN, declarations.DOMAIN_LOCATIONS, declarations.ADMIN_LIMITS)
    assert [s.name for part in parts for s in part.settings] == [setting.name for setting in DOMAIN.settings]
    both = (declarations.LISTENER_OWN, declarations.SSL_CONTROL)
    assert [s.name for part in both for s in part.settings] == [setting.name for setting in declarations.LISTENER.settings]


def test_everything_inherited_says_so_and_nothing_else_of_an_account() -> None:
    assert all(setting.inherits for setting in ACCOUNT.settings)
    assert not any(setting.inherits for setting in declarations.CONTACT_INFO.settings)


def test_rows_of_a_scope_never_share_a_name() -> None:
    families = [
        tuple(SERVICE_CONTEXTS.values()),
        (DOMAIN, *DOMAIN_CONTEXTS.values()),
        tuple(declarations.ACCOUNT_DATA_CONTEXTS.values()),
        tuple(declarations.RECIPIENT_CONTEXTS.values()),
    ]
    for family in families:
        rows = [context.stored_name(setting).lower() for context in family for setting in context.settings]
        assert len(rows) == len(set(rows))


def test_services_that_listen() -> None:
    assert set(LISTENING) - declarations.LISTENING_SERVICES == set()
    assert _names(SERVICE_CONTEXTS["webmailAccessControl"]) == _names(declarations.ACCESS_LIMITS)
    limits = {name: SERVICE_CONTEXTS[f"{name}AccessControl"].defaults() for name in ("imap", "webmail")}
    assert limits["imap"]["maxConnections"] == 200
    assert limits["webmail"]["maxConnections"] == 1000
